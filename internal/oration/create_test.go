package oration_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
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
	cfg.URL, cfg.RootCAs = s.url, s.roots
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
			s := serve(t, nil, func(p *peer) {
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

func TestPermitDeniedSendsNothing(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, secure *tls.Config) {
		s := serve(t, secure, func(p *peer) {
			for p.next() {
				p.answer(200, body(wrapped(0), ""))
			}
		})
		b := batch(t, 1)
		asked := 0
		b.Permit = func() error { asked++; return errors.New("the claim is too old") }
		a := s.of(t, oration.Config{}).Create(t.Context(), b)
		expect(t, a, "unsent")
		if asked != 1 || !strings.Contains(a.Results[0].Reason, "the claim is too old") {
			t.Errorf("asked %d times with the reason %q, want once with its words", asked, a.Results[0].Reason)
		}
		<-s.ended
		if conns, n, requests := s.counts(); conns != 1 || n != 0 || requests != 0 {
			t.Errorf("got %d connections, %d bytes, %d requests, want 1, 0, 0", conns, n, requests)
		}
	})
}

func TestH24ReusedConnectionAsksAgain(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, secure *tls.Config) {
		s := serve(t, secure, func(p *peer) {
			for p.next() {
				p.answer(200, body(wrapped(0), ""))
			}
		})
		c := s.of(t, oration.Config{})
		b := batch(t, 1)
		expect(t, c.Create(t.Context(), b), "created0")
		expect(t, c.Create(t.Context(), b), "created0")
		conns, before, requests := s.counts()
		if conns != 1 || requests != 2 {
			t.Fatalf("got %d connections for %d requests, want 1 for 2", conns, requests)
		}
		b.Permit = func() error { return errors.New("no") }
		expect(t, c.Create(t.Context(), b), "unsent")
		<-s.ended
		if conns, n, requests := s.counts(); conns != 1 || n != before || requests != 2 {
			t.Errorf("got %d connections, %d bytes more, %d requests, want 1, 0, 2", conns, n-before, requests)
		}
	})
}

func TestH24IdleConnectionIsNotKept(t *testing.T) {
	t.Parallel()
	idle := make(chan time.Duration, 1)
	s := serve(t, nil, func(p *peer) {
		p.next()
		p.answer(200, body(wrapped(0), ""))
		began := time.Now()
		p.next()
		idle <- time.Since(began)
	})
	c := s.of(t, oration.Config{})
	expect(t, c.Create(t.Context(), batch(t, 1)), "created0")
	if got := <-idle; got > 6*time.Second {
		t.Errorf("the connection was idle for %v, want about 2s", got)
	}
}

func TestH24QueriesHaveConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
		for p.next() {
			p.answer(200, `{"id":"x"}`)
		}
	})
	c := s.of(t, oration.Config{})
	if _, err := c.Conversation(t.Context(), "x"); err != nil {
		t.Fatalf("Conversation: %v", err)
	}
	c.Create(t.Context(), batch(t, 1))
	if conns, _, requests := s.counts(); conns != 2 || requests != 2 {
		t.Errorf("got %d connections for %d requests, want 2 for 2", conns, requests)
	}
}

// TestReusedConnectionThatCloses is the trap of a transport that repeats a
// request by itself: the provider reads it, acts, and drops the connection.
func TestReusedConnectionThatCloses(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, secure *tls.Config) {
		s := serve(t, secure, func(p *peer) {
			p.next()
			p.answer(200, body(wrapped(0), ""))
			p.next()
		})
		c := s.of(t, oration.Config{})
		expect(t, c.Create(t.Context(), batch(t, 1)), "created0")
		a := c.Create(t.Context(), batch(t, 1))
		expect(t, a, "doubt")
		if conns, _, requests := s.counts(); conns != 1 || requests != 2 {
			t.Errorf("got %d connections and %d requests, want 1 and 2", conns, requests)
		}
	})
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil, func(p *peer) {
				for p.next() {
					fmt.Fprintf(p, "HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", status)
				}
			})
			a := s.of(t, oration.Config{}).Create(t.Context(), batch(t, 2))
			expect(t, a, "unsent unsent")
			if !strings.Contains(a.Stop, "/elsewhere") {
				t.Errorf("Stop: got %q, want the target in it", a.Stop)
			}
			if _, _, requests := s.counts(); requests != 1 {
				t.Errorf("got %d requests, want 1", requests)
			}
		})
	}
	t.Run("unreadable target", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, func(p *peer) {
			p.next()
			io.WriteString(p, "HTTP/1.1 307 Moved\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n")
		})
		a := s.of(t, oration.Config{}).Create(t.Context(), batch(t, 1))
		expect(t, a, "unsent")
		if a.Stop == "" {
			t.Error("got no Stop")
		}
	})
}

// TestRawAnswers has answers at the level of bytes, after a request that was
// read to its end.
func TestRawAnswers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte(body(list(wrapped(0), wrapped(1)), "")))
	_ = zip.Close()
	tests := []struct {
		name, answer, want string
		status             int
	}{
		{"content-length too long", head + "Content-Length: 9999\r\n\r\n" + body(wrapped(0), `"x"`), "created0 doubt", 200},
		{"content-length too short", head + "Connection: close\r\nContent-Length: 20\r\n\r\n" + body(list(wrapped(0), wrapped(1)), ""), "doubt doubt", 200},
		{"chunks cut", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(`{"results":[`+wrapped(0)+`,{"conv`), "created0 doubt", 200},
		{"last chunk missing", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body(wrapped(1), `"x"`)), "doubt created1", 200},
		{"chunks whole", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body(wrapped(1), `"x"`)) + "0\r\n\r\n", "rejected created1", 200},
		{"until the end", head + "\r\n" + body(list(wrapped(0), wrapped(1)), ""), "created0 created1", 200},
		{"429 cut", "HTTP/1.1 429 Slow\r\nContent-Length: 100\r\n\r\n{}", "doubt doubt", 429},
		{"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + head + "Content-Length: 2\r\n\r\n{}", "doubt doubt", 200},
		{"another protocol", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + body(wrapped(0), ""), "doubt doubt", 101},
		{"packed though not asked for", head + fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", packed.Len()) + packed.String(), "doubt doubt", 200},
		{"no HTTP", "hello\r\n\r\n", "doubt doubt", 0},
		{"header cut", head, "doubt doubt", 0},
		{"header too long", head + "Connection: close\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n" + body(list(wrapped(0), wrapped(1)), ""), "doubt doubt", 0},
		{"nothing", "", "doubt doubt", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil, func(p *peer) {
				p.next()
				io.WriteString(p, tt.answer)
				if tt.status == 101 {
					p.next() // open for as long as the client leaves it so
				}
			})
			a := s.of(t, oration.Config{}).Create(t.Context(), batch(t, 2))
			expect(t, a, tt.want)
			if a.Status != tt.status {
				t.Errorf("status: got %d, want %d", a.Status, tt.status)
			}
			if (a.Header == nil) != (tt.status == 0) {
				t.Errorf("header: got %v with status %d", a.Header, a.Status)
			}
			if conns, _, requests := s.counts(); conns != 1 || requests != 1 {
				t.Errorf("got %d connections and %d requests, want 1 and 1", conns, requests)
			}
		})
	}
}

func TestResetAfterTheHeader(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
		p.next()
		io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{")
		p.reset()
	})
	a := s.of(t, oration.Config{}).Create(t.Context(), batch(t, 1))
	expect(t, a, "doubt")
}

func TestResetBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
		_, _ = p.Read(make([]byte, 1))
		p.reset()
	})
	expect(t, s.of(t, oration.Config{}).Create(t.Context(), batch(t, 1)), "doubt")
}

func TestAnswerBeforeTheRequestWasRead(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
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
	s := serve(t, nil, func(p *peer) {
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

func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, begin, want string }{
		{"silent", "", "doubt doubt"},
		{"header without end", "HTTP/1.1 200 OK\r\nX: ", "doubt doubt"},
		{"body without end", "HTTP/1.1 200 OK\r\n\r\n" + `{"results":[` + flat(1) + `],"x":"`, "doubt created1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil, func(p *peer) {
				p.next()
				io.WriteString(p, tt.begin)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for range tick.C {
					if tt.begin == "" {
						p.next() // waits for the client to go
						return
					}
					if _, err := io.WriteString(p, "x"); err != nil {
						return
					}
				}
			})
			const timeout = 300 * time.Millisecond
			a := s.of(t, oration.Config{Timeout: timeout}).Create(t.Context(), batch(t, 2))
			expect(t, a, tt.want)
			if took := a.Done.Sub(a.Began); took < timeout || took > 20*timeout {
				t.Errorf("took %v, want about %v", took, timeout)
			}
		})
	}
}

func TestCancelBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, func(p *peer) { p.next() })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		expect(t, s.of(t, oration.Config{}).Create(ctx, batch(t, 1)), "unsent")
		if conns, _, _ := s.counts(); conns != 0 {
			t.Errorf("got %d connections, want none", conns)
		}
	})
	t.Run("while TLS is shaken hands", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		s := serve(t, nil, func(p *peer) {
			_, _ = p.r.ReadByte() // of the client's hello
			cancel()
			_, _ = io.Copy(io.Discard, p.r)
		})
		c := client(t, oration.Config{URL: strings.Replace(s.url, "http:", "https:", 1)})
		a := c.Create(ctx, batch(t, 1))
		expect(t, a, "unsent")
		if !strings.Contains(a.Results[0].Reason, "stopped before it was sent") {
			t.Errorf("got the reason %q", a.Results[0].Reason)
		}
	})
}

func TestCancelAfterTheFirstByteChangesNothing(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, secure *tls.Config) {
		ctx, cancel := context.WithCancel(t.Context())
		s := serve(t, secure, func(p *peer) {
			p.next()
			cancel()
			p.answer(200, body(wrapped(0), ""))
		})
		expect(t, s.of(t, oration.Config{}).Create(ctx, batch(t, 1)), "created0")
	})
}

func TestCancelInsidePermitIsTooLate(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
		p.next()
		p.answer(200, body(wrapped(0), ""))
	})
	ctx, cancel := context.WithCancel(t.Context())
	b := batch(t, 1)
	b.Permit = func() error { cancel(); return nil }
	expect(t, s.of(t, oration.Config{}).Create(ctx, b), "created0")
}

func TestFailuresBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	old := certificate(t)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	idle := func(p *peer) { p.next() }
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	closed.Close()
	tests := []struct {
		name   string
		client func(t *testing.T) (*oration.Client, *server)
		reason string
	}{
		{"refused", func(t *testing.T) (*oration.Client, *server) {
			return client(t, oration.Config{URL: "http://" + closed.Addr().String()}), nil
		}, "connection refused"},
		{"unknown authority", func(t *testing.T) (*oration.Client, *server) {
			s := serve(t, certificate(t), idle)
			return client(t, oration.Config{URL: s.url}), s
		}, "certificate"},
		{"old TLS", func(t *testing.T) (*oration.Client, *server) {
			s := serve(t, old, idle)
			return s.of(t, oration.Config{}), s
		}, "protocol version"},
		{"no TLS", func(t *testing.T) (*oration.Client, *server) {
			s := serve(t, nil, func(p *peer) {
				_, _ = p.r.ReadByte()
				io.WriteString(p, "HTTP/1.1 400 Bad Request\r\n\r\n")
			})
			return client(t, oration.Config{URL: strings.Replace(s.url, "http:", "https:", 1)}), s
		}, "tls"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, s := tt.client(t)
			b := batch(t, 2)
			b.Permit = func() error { t.Error("Permit was asked"); return nil }
			a := c.Create(t.Context(), b)
			expect(t, a, "unsent unsent")
			if !strings.Contains(a.Results[0].Reason, tt.reason) {
				t.Errorf("reason: got %q, want %q in it", a.Results[0].Reason, tt.reason)
			}
			if s != nil {
				if _, _, requests := s.counts(); requests != 0 {
					t.Errorf("got %d requests, want none", requests)
				}
			}
		})
	}
}

func TestRefusedStatusesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
		for p.next() {
			p.answer(503, `{"message":"down for service"}`)
		}
	})
	expect(t, s.of(t, oration.Config{RefusedStatuses: []int{503}}).Create(t.Context(), batch(t, 1)), "unsent")
	expect(t, s.of(t, oration.Config{}).Create(t.Context(), batch(t, 1)), "doubt")
}

func TestFullWhenOfTheConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
		for p.next() {
			p.answer(200, body("", `"Lines OCCUPIED"`))
		}
	})
	expect(t, s.of(t, oration.Config{FullWhen: []string{"occup|none"}}).Create(t.Context(), batch(t, 1)), "full+")
	expect(t, s.of(t, oration.Config{}).Create(t.Context(), batch(t, 1)), "rejected")
}

func TestCreateOfNothing(t *testing.T) {
	t.Parallel()
	c := preparer(t)
	if a := c.Create(t.Context(), consumer.Batch{}); len(a.Results) != 0 || a.Status != 0 {
		t.Errorf("empty batch: got %+v", a)
	}
	b := batch(t, 1)
	b.Items[0].Request.Body = "another provider's"
	b.Permit = func() error { t.Error("Permit was asked"); return nil }
	expect(t, c.Create(t.Context(), b), "unsent")
}

func TestNothingPersonalIsLogged(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(p *peer) {
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
	kept := log.String() + fmt.Sprintf("%+v", a)
	for _, secret := range []string{"5550101", "5550106", "secret-bearer", "eyJ"} {
		if strings.Contains(kept, secret) {
			t.Errorf("%q is in %q", secret, kept)
		}
	}
}
