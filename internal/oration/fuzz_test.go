package oration_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/oration"
)

// FuzzClassify checks what no answer may break, whatever its bytes.
func FuzzClassify(f *testing.F) {
	for i, answer := range []string{
		body(list(wrapped(1), wrapped(0)), ""), body(list(flat(2), flat(0)), `"limit"`), body(bare(0), ""),
		`{"results":[` + flat(0) + `,{"conv`, body("", `"a","b","c"`), `[` + flat(1) + `]`, wrapped(0), "<html><title>x</title>",
		`{"errors":{"a":["b"]},"message":{"error":{"error":{"error":"x"}}}}`, `{"results":null,"results":[` + wrapped(2) + `]}`, "",
	} {
		for _, status := range []int{200, 404, 429, 500} {
			f.Add([]byte(answer), status, i%3 != 0, status != 404, uint8(i), uint8(3))
		}
	}
	items, full := calls(f, 5), patterns()
	f.Fuzz(func(t *testing.T, answer []byte, status int, complete, written bool, n, free uint8) {
		x := oration.Exchange{
			Items: items[:n%6], Free: int(free), FullWhen: full, Refused: []int{503},
			Written: written, Status: status, Header: http.Header{}, Body: answer, Complete: complete,
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
		for i, named := range namedBy(answer, x.Items) {
			switch v := got.Results[i].Verdict; {
			case named && v != consumer.VerdictCreated && v != consumer.VerdictDoubt:
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
