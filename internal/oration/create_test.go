package oration_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/schema"
)

func allow() error { return nil }

// batch is n items with as many free slots.
func batch(t *testing.T, n int) consumer.Batch {
	return consumer.Batch{Items: calls(t, n), Free: n, Permit: allow}
}

// of returns a client of the server.
func (s *server) of(t *testing.T, cfg oration.Config) *oration.Client {
	t.Helper()
	cfg.URL = s.url
	return client(t, cfg)
}

// expect compares an answer's verdicts.
func expect(t *testing.T, a consumer.Answer, want string) {
	t.Helper()
	if got := shorthand(a.Results); got != want {
		t.Errorf("verdicts: got %q, want %q; answer: %+v", got, want, a)
	}
}

func TestCreateSendsGoldenRequest(t *testing.T) {
	t.Parallel()
	common := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "Content-Type": {"application/json"}, "User-Agent": {"weir"},
	}
	tests := []struct {
		name string
		cfg  oration.Config
		want http.Header
	}{
		{"bearer", oration.Config{Bearer: "b-1"}, http.Header{"Authorization": {"Bearer b-1"}}},
		{"key and workspace", oration.Config{APIKey: "k-1", WorkspaceID: "w-1", PublicKey: "p-1"},
			http.Header{"X-Api-Key": {"k-1"}, "X-Workspace-Id": {"w-1"}, "X-Public-Key": {"p-1"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(p *peer) {
				for p.next() {
					p.answer(200, body(list(wrapped(1), wrapped(0)), ""))
				}
			})
			c := s.of(t, tt.cfg)
			b := batch(t, 2)
			r, err := c.Prepare(map[string]any{
				"agentId": agent, "conversationType": "telephony", "toPhoneNumber": phone(1),
				"dynamicVariables": map[string]any{"weir_intent": "forged", "weir_attempt": "7", "name": "Ana"},
			})
			if err != nil {
				t.Fatalf("Prepare: %v", err)
			}
			b.Items[1].Request = r
			before := time.Now()
			a := c.Create(t.Context(), b)
			expect(t, a, "created0 created1")
			if a.Results[0].Status != "created" || a.Status != 200 || a.Header["Content-Type"] == nil {
				t.Errorf("answer: got %+v", a)
			}
			if a.Began.Before(before) || a.Done.Before(a.Began) || a.Done.After(time.Now()) {
				t.Errorf("got began %v and done %v, want them in order after %v", a.Began, a.Done, before)
			}
			// The forged values are neither sent nor is the prepared request changed.
			if vars := b.Items[1].Request.Body.(oration.Request).DynamicVariables; len(vars) != 1 {
				t.Errorf("prepared variables: got %v, want only the name", vars)
			}
			want := common.Clone()
			maps.Copy(want, tt.want)
			const head = `{"agentId":"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7","conversationType":"telephony","toPhoneNumber":`
			wire := `{"conversations":[` +
				head + `"+14155550100","dynamicVariables":{"weir_attempt":"2","weir_intent":"00000000-0000-5000-8000-000000000000"}},` +
				head + `"+14155550101","dynamicVariables":{"name":"Ana","weir_attempt":"2","weir_intent":"00000000-0000-5000-8000-000000000001"}}]}`
			want.Set("Content-Length", fmt.Sprint(len(wire)))
			got := s.all()
			if len(got) != 1 || got[0].line != "POST /api/v2/conversations HTTP/1.1" {
				t.Fatalf("got the requests %+v, want one POST", got)
			}
			if diff := cmp.Diff(wire, got[0].body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, got[0].header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRawAnswers has answers at the level of bytes: what they name in full
// counts, however they end.
func TestRawAnswers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	tests := []struct {
		name, answer, want string
	}{
		{"content-length too long", head + "Content-Length: 9999\r\n\r\n" + body(wrapped(0), `"x"`), "created0 doubt"},
		{"content-length too short", head + "Connection: close\r\nContent-Length: 20\r\n\r\n" + body(list(wrapped(0), wrapped(1)), ""), "doubt doubt"},
		{"chunks cut", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(`{"results":[`+wrapped(0)+`,{"conv`), "created0 doubt"},
		{"last chunk missing", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body(wrapped(1), `"x"`)), "doubt created1"},
		{"chunks whole", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body(wrapped(1), `"x"`)) + "0\r\n\r\n", "rejected created1"},
		{"until the end", head + "\r\n" + body(list(wrapped(0), wrapped(1)), ""), "created0 created1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(p *peer) {
				p.next()
				io.WriteString(p, tt.answer)
			})
			a := s.of(t, oration.Config{}).Create(t.Context(), batch(t, 2))
			expect(t, a, tt.want)
			if a.Status != 200 || a.Header == nil {
				t.Errorf("got status %d and header %v, want 200 and what came with it", a.Status, a.Header)
			}
		})
	}
}

func TestAnswerBeforeTheRequestWasRead(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		_, _ = p.r.ReadByte()
		p.answer(429, `{"message":"full"}`)
		_, _ = io.Copy(io.Discard, p.r)
	})
	b := batch(t, 8)
	for i := range b.Items {
		r := b.Items[i].Request.Body.(oration.Request)
		r.DynamicVariables = map[string]string{"pad": strings.Repeat("x", 1<<20)}
		b.Items[i].Request.Body = r
	}
	a := s.of(t, oration.Config{}).Create(t.Context(), b)
	if a.Status != 429 || !a.Full {
		t.Fatalf("got status %d and full %v (%s), want 429 and true", a.Status, a.Full, a.Results[0].Reason)
	}
	expect(t, a, strings.TrimSpace(strings.Repeat("full ", 8)))
}

func TestEndlessBodyIsCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		p.next()
		io.WriteString(p, "HTTP/1.1 200 OK\r\n\r\n"+`{"results":[`+wrapped(0)+`],"more":"`)
		for {
			if _, err := io.WriteString(p, strings.Repeat("x", 64<<10)); err != nil {
				return
			}
		}
	})
	began := time.Now()
	a := s.of(t, oration.Config{Timeout: time.Minute}).Create(t.Context(), batch(t, 2))
	expect(t, a, "created0 doubt")
	if !strings.Contains(a.Results[1].Reason, "longer than") || time.Since(began) > 30*time.Second {
		t.Errorf("got the reason %q after %v, want the bound long before the time-out", a.Results[1].Reason, time.Since(began))
	}
}

// TestSlowAnswer ends by the time-out, and keeps what it named until then.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		p.next()
		io.WriteString(p, "HTTP/1.1 200 OK\r\n\r\n"+`{"results":[`+flat(1)+`],"x":"`)
		p.next() // waits for the client to go
	})
	// On a busy machine the time may be over before the answer has come so far.
	var a consumer.Answer
	for timeout := 300 * time.Millisecond; timeout < time.Minute; timeout *= 4 {
		if a = s.of(t, oration.Config{Timeout: timeout}).Create(t.Context(), batch(t, 2)); a.Status == 200 && a.Results[1].Conversation != "" {
			break
		}
	}
	expect(t, a, "doubt created1")
}

func TestFullWhenOfTheConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		for p.next() {
			p.answer(200, body("", `"Lines OCCUPIED"`))
		}
	})
	expect(t, s.of(t, oration.Config{FullWhen: []string{"occup|none"}}).Create(t.Context(), batch(t, 1)), "full+")
	expect(t, s.of(t, oration.Config{}).Create(t.Context(), batch(t, 1)), "rejected")
}

func TestNothingPersonalIsLogged(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		for p.next() {
			p.answer(200, body(list(wrapped(0), strings.Replace(wrapped(5), phone(5), phone(6), 1)), `"no `+phone(1)+`"`))
		}
	})
	var log bytes.Buffer
	c, err := oration.New(zerolog.New(&log), oration.Config{URL: s.url, Bearer: schema.Secret("secret-bearer")})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	a := c.Create(t.Context(), batch(t, 2))
	expect(t, a, "created0 doubt")
	if !strings.Contains(log.String(), `"conversations":["conv-5"]`) {
		t.Errorf("log: got %q, want the stray conversation in it", log.String())
	}
	a.Began, a.Done = time.Time{}, time.Time{} // nanoseconds may be anybody's number
	kept := log.String() + fmt.Sprintf("%+v", a)
	for _, secret := range []string{"5550101", "5550106", "secret-bearer", "eyJ"} {
		if strings.Contains(kept, secret) {
			t.Errorf("%q is in %q", secret, kept)
		}
	}
}
