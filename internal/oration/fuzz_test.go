package oration_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/internal/oration"
)

// FuzzClassify checks what no answer may break, whatever its bytes.
func FuzzClassify(f *testing.F) {
	for i, answer := range []string{
		body(list(wrapped(1), wrapped(0)), ""), body(list(flat(2), flat(0)), `"limit"`), body(bare(0), ""),
		`{"results":[` + flat(0) + `,{"conv`, body("", `"a","b","c"`), `[` + flat(1) + `]`, wrapped(0), "<html><title>x</title>",
		body(wrapped(0), `"limit"`), body("", `"limit"`), body(flat(1), `{"error":"x","toPhoneNumber":"`+phone(0)+`"}`),
		`{"detail":{"results":[` + flat(0) + `]}}`, `{"data":[[` + wrapped(1) + `]],"errors":["x"]}`, flat(0),
		`{"errors":{"a":["b"]},"message":{"error":{"error":{"error":"x"}}}}`, `{"results":null,"results":[` + wrapped(2) + `]}`, "",
	} {
		for _, status := range []int{200, 401, 404, 422, 429, 500} {
			f.Add([]byte(answer), status, i%3 != 0, status != 404, uint8(i), uint8(3))
		}
	}
	items, full := calls(f, 5), patterns()
	f.Fuzz(func(t *testing.T, answer []byte, status int, complete, written bool, n, free uint8) {
		x := oration.Exchange{
			Items: items[:n%6], Free: int(free), FullWhen: full, Refused: []int{503},
			Exchange: wire.Exchange{Written: written, Status: status, Header: http.Header{}, Body: answer, Complete: complete},
		}
		if diff, _ := oration.Scanned(x); diff != "" {
			t.Fatalf("-stream +one pass\n%s", diff)
		}
		got, _ := oration.Classify(x)
		if len(got.Results) != len(x.Items) {
			t.Fatalf("got %d results for %d items", len(got.Results), len(x.Items))
		}
		seen := make(map[string]bool)
		for i, r := range got.Results {
			created := r.Verdict == consumer.VerdictCreated
			if created != (r.Conversation != "") || r.Verdict.String() == "unknown" {
				t.Fatalf("item %d: %+v", i, r)
			}
			if created && seen[r.Conversation] {
				t.Fatalf("conversation %q is two items'", r.Conversation)
			}
			seen[r.Conversation] = true
			if !created && !written && r.Verdict != consumer.VerdictUnsent && r.Verdict != consumer.VerdictDoubt {
				t.Fatalf("item %d of a request that was not sent: %+v", i, r)
			}
			if !created && (r.Reason == "" || len([]rune(r.Reason)) > 1000) {
				t.Fatalf("item %d: the reason %q", i, r.Reason)
			}
			if r.Alone && r.Verdict != consumer.VerdictFull || r.ItemError && r.Verdict != consumer.VerdictFull {
				t.Fatalf("item %d: %+v", i, r)
			}
		}
		if status == 0 {
			return
		}
		if counts, ok := count(answer); ok && written {
			certain := 0 // items of which it is said that they were not created
			for _, r := range got.Results {
				if r.Verdict != consumer.VerdictCreated && r.Verdict != consumer.VerdictDoubt {
					certain++
				}
			}
			if counts.elsewhere && certain > 0 {
				t.Fatalf("the body names a conversation that is no result, and yet: %+v", got.Results)
			}
			if lists := counts.results > 0 || status == 429 && counts.listed; lists && certain > counts.errors {
				t.Fatalf("%d items are not created by the word of %d errors: %+v", certain, counts.errors, got.Results)
			}
		}
		for i, named := range namedBy(answer, x.Items) {
			if v := got.Results[i].Verdict; named && v != consumer.VerdictCreated && v != consumer.VerdictDoubt {
				t.Fatalf("item %d is named by the body and yet %v", i, v)
			}
		}
	})
}

// namedBy tells, by another way of reading than the client's, which items a
// well-formed body names a conversation for.
func namedBy(answer []byte, items []consumer.Item) []bool {
	type entry struct {
		ID     string          `json:"id"`
		Number string          `json:"toPhoneNumber"`
		Agent  string          `json:"agentId"`
		Vars   json.RawMessage `json:"dynamicVariables"`
	}
	var parsed struct {
		Results []json.RawMessage `json:"results"`
	}
	named := make([]bool, len(items))
	if json.Unmarshal(answer, &parsed) != nil {
		return named
	}
	for _, raw := range parsed.Results {
		var outer struct {
			Conversation *entry `json:"conversation"`
		}
		var e entry
		if json.Unmarshal(raw, &outer) == nil && outer.Conversation != nil {
			e = *outer.Conversation
		} else if json.Unmarshal(raw, &e) != nil {
			continue
		}
		var echo map[string]any
		var text string
		if json.Unmarshal(e.Vars, &text) == nil {
			e.Vars = json.RawMessage(text)
		}
		_ = json.Unmarshal(e.Vars, &echo)
		i := slices.IndexFunc(items, func(it consumer.Item) bool {
			if echo["weir_intent"] != nil {
				return echo["weir_intent"] == it.Intent && echo["weir_attempt"] == "2"
			}
			req := it.Request.Body.(oration.Request)
			return e.Number == req.ToPhoneNumber && e.Agent == req.AgentID
		})
		if i >= 0 && e.ID != "" {
			named[i] = true
		}
	}
	return named
}

// counted is what a body holds, by another way of reading than the client's.
type counted struct {
	results, errors int
	listed          bool // there is a member results
	elsewhere       bool // a conversation stands in another member
}

// count counts the members of a well-formed object; false if it is none.
func count(answer []byte) (counted, bool) {
	var c counted
	var whole map[string]any
	if json.Unmarshal(answer, &whole) != nil || whole == nil {
		return c, false
	}
	dec := json.NewDecoder(bytes.NewReader(answer))
	_, _ = dec.Token()
	for dec.More() {
		key, _ := dec.Token()
		var value any
		if dec.Decode(&value) != nil {
			return c, false
		}
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		n := len(slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == nil }))
		switch name, _ := key.(string); strings.ToLower(name) {
		case "results":
			c.results, c.listed = c.results+n, true
		case "errors":
			c.errors += n
		case "conversation":
			c.results++
		default:
			c.elsewhere = c.elsewhere || holds(value, 3)
		}
	}
	return c, true
}

// holds reports whether a conversation stands in a value, in at most so many
// objects, each in a list or not.
func holds(value any, objects int) bool {
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, func(v any) bool {
			_, nested := v.([]any)
			return !nested && holds(v, objects)
		})
	}
	o, ok := value.(map[string]any)
	if !ok || objects == 0 {
		return false
	}
	told := false
	for _, key := range []string{"conversationStatus", "toPhoneNumber", "weir_intent"} {
		s, _ := o[key].(string)
		told = told || s != ""
	}
	vars, _ := o["dynamicVariables"].(map[string]any)
	if echo, _ := vars["weir_intent"].(string); echo != "" {
		told = true
	}
	if id, _ := o["id"].(string); id != "" && told {
		return true
	}
	for _, v := range o {
		if holds(v, objects-1) {
			return true
		}
	}
	return false
}
