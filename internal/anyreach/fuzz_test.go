package anyreach_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/internal/anyreach"
)

// FuzzClassify checks what no answer may break, whatever its bytes.
func FuzzClassify(f *testing.F) {
	for _, answer := range []string{
		"", "{}", "null", wrap(ours), ours, wrap(ours)[:60], wrap(conv(another, number, "")), conv(intent, "+14155550199", ""),
		`{"conversation_id":"` + intent + `","token":"x"}`, `{"id":"c-1"}`, `[` + ours + `]`, `{"detail":[{"loc":["body",1],"msg":"x"}]}`,
		`{"detail":{"a":[` + ours + `]}}`, `{"error":"x"}`, "<html><title>x</title>", `{"conversation":{"id":"` + strings.ToUpper(intent) + `","channel":"x"}}`,
		`{"detail":"x","conversation":null,"conversation":` + ours + `}`, `{"starting_message":"Hi","url":"wss://x"}`,
	} {
		for i, status := range []int{200, 202, 302, 401, 404, 409, 422, 429, 500, 503} {
			f.Add([]byte(answer), status, i%3 != 0, status != 404, i%2 == 0)
		}
	}
	call, join := item(f, "telephone"), item(f, "webrtc")
	f.Fuzz(func(t *testing.T, answer []byte, status int, complete, written, web bool) {
		x := anyreach.Exchange{
			Item: call, Refused: []int{503},
			Exchange: wire.Exchange{Written: written, Status: status, Header: http.Header{}, Body: answer, Complete: complete},
		}
		if web {
			x.Item = join
		}
		a := anyreach.Classify(x)
		if len(a.Results) != 1 {
			t.Fatalf("got %d results", len(a.Results))
		}
		r := a.Results[0]
		created := r.Verdict == consumer.VerdictCreated
		if created != (r.Conversation != "") || r.Verdict.String() == "unknown" || r.Alone || r.ItemError {
			t.Fatalf("got %+v", r)
		}
		if !written && (r.Verdict != consumer.VerdictUnsent || a.Stop != "" || a.Full) {
			t.Fatalf("a request that was not sent: %+v", a)
		}
		if !created && (r.Reason == "" || len([]rune(r.Reason)) > 1000) || r.Foreign && r.Verdict != consumer.VerdictDoubt {
			t.Fatalf("got %+v", r)
		}
		if created && r.Conversation != intent && a.Stop == "" {
			t.Fatalf("an id that is not ours, and no Stop: %+v", a)
		}
		if join := r.Session.Join.Reveal(); len(r.Session.Greeting) > 4<<10 || len(join) > 16<<10 || join != "" && (!web || !json.Valid([]byte(join))) {
			t.Fatalf("session: %+v, join %q", r.Session, join)
		}
		if created && status/100 != 2 && !strings.Contains(strings.ToLower(string(answer)), intent) && !escaped(answer) {
			t.Fatalf("created by an error that does not name it: %+v", r)
		}
		if created && status/100 == 2 && !complete && !strings.Contains(string(answer), `"id"`) && !strings.Contains(string(answer), "conversation_id") && !escaped(answer) {
			t.Fatalf("created by an answer that was cut and names nothing: %+v", r)
		}
		if v := wrappedBy(answer); written && status != 0 && v != "" && strings.EqualFold(v, intent) && !created && r.Verdict != consumer.VerdictDoubt {
			t.Fatalf("named by the body and yet %v", r.Verdict)
		}
	})
}

// escaped reports whether a text in JSON may be other than its bytes.
func escaped(b []byte) bool { return strings.Contains(string(b), `\u`) }

// wrappedBy returns the id of the conversation in a well-formed body, read in
// another way than the client's.
func wrappedBy(answer []byte) string {
	var body struct {
		Conversation struct {
			ID string `json:"id"`
		} `json:"conversation"`
	}
	var exact map[string]json.RawMessage
	if len(answer) > 4<<10 || json.Unmarshal(answer, &body) != nil || json.Unmarshal(answer, &exact) != nil || exact["conversation"] == nil {
		return ""
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(exact["conversation"], &inner) != nil || inner["id"] == nil {
		return ""
	}
	return body.Conversation.ID
}

// FuzzPrepare checks that what is not refused can be sent.
func FuzzPrepare(f *testing.F) {
	f.Add([]byte(`{"channel":"telephone","user_id":"+14155550111","agent_number":"+14155550199","custom_metadata":{"a":[1,{"b":null}]}}`))
	f.Add([]byte(`{"channel":"email","user_id":7,"to_address":"a@b.cd","agent_id":"a","version":3,"subject":"x"}`))
	f.Add([]byte(`{"channel":"webrtc","user_id":"u","agent_config":{}}`))
	c := preparer(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var request map[string]any
		if json.Unmarshal(b, &request) != nil {
			return
		}
		r, err := c.Prepare(request)
		if err != nil {
			return
		}
		body, err := json.Marshal(r.Body)
		if err != nil || len(body) > 1<<20 || r.Pair == "" || r.Channel == "" {
			t.Fatalf("got %d bytes, pair %q, channel %q and error %v", len(body), r.Pair, r.Channel, err)
		}
	})
}

// TestHostileAnswersAreCheap has answers as long as they may be, made of what
// costs the most. It is not parallel: it counts the memory of the process.
func TestHostileAnswersAreCheap(t *testing.T) {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, (size-100)/len(s)) }
	it := item(t, "webrtc")
	for name, tt := range map[string]struct{ body, want string }{
		"the same member":     {`{` + fill(`"code":{},`) + `"x":0}`, "doubt"},
		"a list":              {`[` + fill(`{},`) + `0]`, "doubt"},
		"lists of lists":      {`{"a":[[[[` + fill("[],")[:510_000] + `[]]]]]}`, "rejected"},
		"names of others":     {`{"a":[` + fill(`{"conversation_id":"1"},`)[:480_000] + `0]}`, "doubt"},
		"our name":            {`{"a":[` + fill(`{"conversation_id":"` + intent + `"},`)[:59*8000] + `0]}`, "created:ours"},
		"one large member":    {`{"a":[` + fill("0,") + `0]}`, "doubt"},
		"a large detail":      {`{"detail":[` + fill(`{"msg":"x"},`)[:480_000] + `0]}`, "rejected"},
		"objects in objects":  {`{"a":` + strings.Repeat(`{"a":`, 9000) + `0` + strings.Repeat(`}`, 9001), "rejected"},
		"a large column":      {`{"conversation":{"id":"` + intent + `","x":"` + fill("x")[:400<<10] + `"}}`, "created:ours"},
		"many small members":  {`{"a":{` + fill(`"k":0,`)[:480_000] + `"x":0}}`, "rejected"},
		"words without end":   {`{"detail":"` + fill("x")[:500<<10] + `"}`, "rejected"},
		"a text without JSON": {fill("x"), "rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := anyreach.Classify(anyreach.Exchange{Item: it, Exchange: wire.Exchange{Written: true, Status: 422, Body: []byte(tt.body), Complete: true}})
			runtime.ReadMemStats(&after)
			if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 128 {
				t.Errorf("an answer of %d bytes took %d MiB, want at most 128", len(tt.body), mb)
			}
			if s := shorthand(got.Results[0]); s != tt.want {
				t.Errorf("got %q (%s), want %q", s, got.Results[0].Reason, tt.want)
			}
		})
	}
}
