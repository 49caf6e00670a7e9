package oration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/schema"
)

// TestHostileAnswersAreCheap has answers as long as they may be, made of what
// costs the most. It is not parallel: it counts the memory of the process.
func TestHostileAnswersAreCheap(t *testing.T) {
	const n = 100
	const size = 1<<20 + n*64<<10 // what is read of an answer to n items
	members := func() string {
		var b strings.Builder
		for i := 0; b.Len() < size-100; i++ {
			fmt.Fprintf(&b, `"%x":0,`, i)
		}
		return b.String()
	}()
	c := preparer(t)
	items := make([]consumer.Item, n)
	for i := range items {
		r, err := c.Prepare(map[string]any{"agentId": agent, "conversationType": "telephony", "toPhoneNumber": fmt.Sprintf("+1415555%04d", i)})
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		items[i] = consumer.Item{Intent: fmt.Sprintf("intent-%d", i), Attempt: attempt, Request: r}
	}
	fill := func(s string) string { return strings.Repeat(s, (size-100)/len(s)) }
	for name, answer := range map[string]string{
		"numbers as results": `{"results":[` + fill("0,") + `0]}`,
		"empty results":      `{"results":[` + fill("{},") + `{}]}`,
		"results with an id": `{"results":[` + fill(`{"id":"1"},`) + `{}]}`,
		"numbers as errors":  `{"errors":[` + fill("0,") + `0]}`,
		"the same member":    `{` + fill(`"code":{},`) + `"x":0}`,
		"one large result":   `{"results":[{` + members + `"x":0}]}`,
		"one large error":    `{"errors":[{` + members + `"x":0}]}`,
		"one large message":  `{"message":{` + members + `"x":0}}`,
		"one large member":   `{"data":[` + fill("[],") + `0]}`,
		"deep lists":         `{"data":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
		"bare errors":        `[` + fill("{},") + `{}]`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, notes := oration.Classify(oration.Exchange{Items: items, Free: n, Exchange: wire.Exchange{Written: true, Status: 422, Body: []byte(answer), Complete: true}})
			runtime.ReadMemStats(&after)
			if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 128 {
				t.Errorf("an answer of %d bytes took %d MiB, want at most 128", len(answer), mb)
			}
			if len(notes.Stray) > 464 {
				t.Errorf("got %d results, want at most 4 for each item and 64", len(notes.Stray))
			}
			for i, r := range got.Results {
				if r.Verdict != consumer.VerdictDoubt && name != "deep lists" {
					t.Fatalf("item %d: got %v, want doubt: there was more than was read", i, r.Verdict)
				}
			}
		})
	}
}

func TestEntriesBeforeTheBoundCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body, want string
	}{
		{"our result first", `{"results":[` + wrapped(1) + strings.Repeat(`,0`, 1000) + `]}`, "doubt created1"},
		{"our result last", `{"results":[` + strings.Repeat(`0,`, 1000) + wrapped(1) + `]}`, "doubt doubt"},
		{"errors after results", `{"results":[` + wrapped(1) + `],"errors":[` + strings.Repeat(`0,`, 1000) + `0]}`, "doubt created1"},
		{"as many as allowed", body(wrapped(1), strings.Repeat(`"x",`, 60)+`"x"`), "full! created1"},
	} {
		got, _ := oration.Classify(oration.Exchange{
			Items: calls(t, 2), Free: 2, Exchange: wire.Exchange{Written: true, Status: 200, Body: []byte(tt.body), Complete: true},
		})
		if s := shorthand(got.Results); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
	}
}

// TestCredentialsAreNotRepeated has a provider that repeats, in every place,
// what it was sent.
func TestCredentialsAreNotRepeated(t *testing.T) {
	t.Parallel()
	const key, space = `q7Zp/29"LmX+w41<a`, "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a8"
	quoted := strings.NewReplacer(`"`, `\"`).Replace(key)
	answers := map[string]struct {
		status int
		body   string
	}{
		"message":       {401, `{"message":"the key ` + quoted + ` is not of ` + space + `"}`},
		"an error":      {422, body("", `{"error":"key `+quoted+`"}`)},
		"other members": {422, body("", `{"x":"`+strings.ReplaceAll(quoted, "/", `\/`)+`"}`)},
		"as Go has it":  {422, body("", `{"x":"`+strings.ReplaceAll(quoted, "<", `\u003c`)+`"}`)},
		"at the cut":    {422, `{"message":"` + strings.Repeat(" ", 16<<10-30) + "key " + quoted + " " + quoted + strings.Repeat(" ", 100) + `"}`},
		"a title":       {404, `<html><title>` + strings.ReplaceAll(key, "<", "&lt;") + `</title>`},
		"text":          {400, `no ` + key},
		"a status":      {200, `{"id":"c-1","summary":"` + quoted + `","conversationStatus":"` + quoted + `","endReason":"` + quoted + `","results":[{"id":"c-1","conversationStatus":"` + quoted + `"}]}`},
		"stray ids":     {200, body(`{"id":"`+quoted+`"},{"id":"c-2"}`, "")},
		"a target":      {302, ""},
		"no HTTP":       {0, ""},
	}
	for name, tt := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.status == 0 {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err == nil {
						fmt.Fprintf(conn, "%s\r\n\r\n", key)
						conn.Close()
					}
					return
				}
				w.Header().Set("Location", "https://x.example/"+strings.ReplaceAll(key, `"`, "%22"))
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer srv.Close()
			var log bytes.Buffer
			c, err := oration.New(zerolog.New(&log), oration.Config{URL: srv.URL, APIKey: schema.Secret(key), WorkspaceID: schema.Secret(space)})
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			defer c.Close()
			a := c.Create(t.Context(), batch(t, 1))
			conv, err := c.Conversation(t.Context(), "c-1")
			kept := fmt.Sprintf("%+v %q %+v %v %s", a.Results, a.Stop, []string{conv.Status, conv.Reason, conv.Summary}, err, log.String())
			for _, secret := range []string{"q7Zp", "LmX", "w41", space} {
				if strings.Contains(kept, secret) {
					t.Errorf("%q is in %s", secret, kept)
				}
			}
			if !strings.Contains(kept, "[redacted]") {
				t.Errorf("got %s, want [redacted] in it", kept)
			}
		})
	}
}

func TestShortSecretsStay(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		for p.next() {
			p.answer(422, `{"message":"bad key abcd"}`)
		}
	})
	a := s.of(t, oration.Config{Bearer: "abcd", PublicKey: "bad"}).Create(t.Context(), batch(t, 1))
	if r := a.Results[0].Reason; !strings.HasSuffix(r, "bad key [redacted]") {
		t.Errorf("got the reason %q, want only the secret of four bytes replaced", r)
	}
}
