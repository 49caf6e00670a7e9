package providertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// testPermit: permission is asked for once, before the first byte of the request
// itself, on new connections and on those that were open.
func (h Harness) testPermit(t *testing.T) {
	eachTransport(t, func(t *testing.T, secure *tls.Config) {
		conns := 0
		for n := 0; conns != 2 && n < tries; n++ {
			conns = h.permitTwice(t, secure)
		}
		if conns != 2 {
			t.Errorf("got %d connections, want 2: the last question was to be on one that was open", conns)
		}
	})
	t.Run("not this provider's", h.permitForeign)
}

// permitTwice has creates refused and permitted, the last ones on a connection that
// was open if the transport kept it, and returns how many connections there were.
func (h Harness) permitTwice(t *testing.T, secure *tls.Config) (conns int) {
	x := h.answers(t, secure, creates)
	x.denied(t, 0, 0)
	for range 2 {
		b := x.batch(t, h.several())
		asked := 0
		b.Permit = func() error { asked++; return nil }
		expect(t, x.create(t.Context(), t, b), created)
		if asked != 1 {
			t.Errorf("permission was asked for %d times, want once", asked)
		}
	}
	_, bytes, requests := x.s.counts()
	x.denied(t, bytes, requests)
	conns, _, _ = x.s.counts()
	return conns
}

// denied makes a create that is not permitted. What came before it must be all
// that came.
func (x *subject) denied(t *testing.T, bytes, requests int) {
	t.Helper()
	b := x.batch(t, x.h.several())
	asked := 0
	b.Permit = func() error { asked++; return errors.New("the claim is too old") }
	a := x.create(t.Context(), t, b)
	expect(t, a, unsent)
	if asked != 1 || !strings.Contains(a.Results[0].Reason, "the claim is too old") {
		t.Errorf("permission was asked for %d times, with the reason %q; want once, with its words", asked, a.Results[0].Reason)
	}
	x.Close()
	x.s.wait(t, 1)
	if _, b, r := x.s.counts(); b != bytes || r != requests {
		t.Errorf("got %d bytes and %d requests in all, want %d and %d", b, r, bytes, requests)
	}
}

// permitForeign: nothing is asked for where there is nothing to send, or what
// cannot be sent.
func (h Harness) permitForeign(t *testing.T) {
	t.Parallel()
	x := h.answers(t, nil, creates)
	b := x.batch(t, 1)
	b.Permit = func() error { t.Error("permission was asked for"); return nil }
	b.Items[0].Request.Body = "another provider's"
	expect(t, x.create(t.Context(), t, b), unsent)
	b.Items = nil
	x.create(t.Context(), t, b)
	if h.Most == 1 {
		b.Items = append(x.batch(t, 1).Items, x.batch(t, 1).Items...)
		expect(t, x.create(t.Context(), t, b), unsent)
	}
	if conns, _, _ := x.s.counts(); conns != 0 {
		t.Errorf("got %d connections, want none", conns)
	}
}

// testContext: the context stops a create until its first byte, and not after.
func (h Harness) testContext(t *testing.T) {
	t.Run("ended at once", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, creates)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errStopped)
		a := x.create(ctx, t, x.batch(t, 1))
		expect(t, a, unsent)
		because(t, a, errStopped.Error())
		if _, bytes, _ := x.s.counts(); bytes != 0 {
			t.Errorf("got %d bytes, want none", bytes)
		}
	})
	t.Run("ended during the handshake", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		x := h.subject(t, nil, func(p *peer) {
			_, _ = p.r.ReadByte() // of the client's hello
			cancel(errStopped)
			_, _ = io.Copy(io.Discard, p.r)
		}, overTLS)
		b := x.batch(t, 1)
		b.Permit = func() error { t.Error("permission was asked for"); return nil }
		began := time.Now()
		a := x.create(ctx, t, b)
		expect(t, a, unsent)
		because(t, a, errStopped.Error())
		if took := time.Since(began); took > patience {
			t.Errorf("took %v, want an end at once", took)
		}
	})
	t.Run("ended by permission", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, creates)
		ctx, cancel := context.WithCancel(t.Context())
		b := x.batch(t, h.several())
		b.Permit = func() error { cancel(); return nil }
		expect(t, x.create(ctx, t, b), created)
	})
	t.Run("ended after the first byte", func(t *testing.T) {
		t.Parallel()
		eachTransport(t, func(t *testing.T, secure *tls.Config) {
			ctx, cancel := context.WithCancel(t.Context())
			x := h.answers(t, secure, func(p *peer) {
				cancel()
				<-ctx.Done()
				creates(p)
			})
			expect(t, x.create(ctx, t, x.batch(t, h.several())), created)
		})
	})
}

// errStopped is why a context ended.
var errStopped = errors.New("the lane was paused")

// because checks that each reason says why.
func because(t *testing.T, a consumer.Answer, why string) {
	t.Helper()
	for _, r := range a.Results {
		if !strings.Contains(r.Reason, why) {
			t.Errorf("got the reason %q, want %q in it", r.Reason, why)
		}
	}
}

// overTLS has a client speak TLS to a server that does not.
func overTLS(cfg *Config) { cfg.URL = strings.Replace(cfg.URL, "http:", "https:", 1) }

// testUnsent: what fails before the first byte of the request was not sent, and
// no permission is asked for.
func (h Harness) testUnsent(t *testing.T) {
	old := certificate(t)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	idle := func(p *peer) { p.next() }
	tests := map[string]struct {
		secure *tls.Config
		handle func(p *peer)
		change func(*Config)
		why    string
	}{
		// A port that was free a moment ago may be another test's by then.
		"connection refused": {nil, idle, func(cfg *Config) { cfg.URL = "http://127.0.0.1:1" }, "connection refused"},
		// A label of more than 63 characters is no name: nobody is asked for it.
		"no such host":      {nil, idle, func(cfg *Config) { cfg.URL = "https://" + strings.Repeat("x", 64) + ".invalid" }, "no such host"},
		"unknown authority": {certificate(t), idle, func(cfg *Config) { cfg.RootCAs = nil }, "certificate"},
		"old TLS":           {old, idle, func(*Config) {}, "protocol version"},
		"no TLS": {nil, func(p *peer) {
			_, _ = p.r.ReadByte()
			p.answer(400, "")
		}, overTLS, "tls"},
		"reset during the handshake": {nil, func(p *peer) {
			_, _ = p.r.ReadByte()
			p.reset()
		}, overTLS, "reset"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := h.subject(t, tt.secure, tt.handle, tt.change)
			b := x.batch(t, h.several())
			b.Permit = func() error { t.Error("permission was asked for"); return nil }
			a := x.create(t.Context(), t, b)
			expect(t, a, unsent)
			because(t, a, tt.why)
			if a.Status != 0 || a.Full || a.Stop != "" {
				t.Errorf("got status %d, full %v and Stop %q, want none of them", a.Status, a.Full, a.Stop)
			}
		})
	}
}

// testTimeout: a create ends by its own time-out, in doubt.
func (h Harness) testTimeout(t *testing.T) {
	const timeout = 300 * time.Millisecond
	tests := map[string]func(p *peer){
		"silent":             func(p *peer) { p.next() },
		"header without end": func(p *peer) { p.write("HTTP/1.1 200 OK\r\nX: "); p.drip("x") },
		"body without end":   func(p *peer) { p.write(head(200) + "["); p.drip(" ") },
		"interim answers":    func(p *peer) { p.drip("HTTP/1.1 103 Hints\r\n\r\n") },
	}
	for name, handle := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// On a busy machine the time may be over before anything was sent.
			timeout := timeout
			var a consumer.Answer
			for sent := false; !sent && timeout < 2*patience; timeout *= 2 {
				x := h.answers(t, nil, handle, func(cfg *Config) { cfg.Timeout = timeout })
				a = x.create(t.Context(), t, x.batch(t, h.several()))
				sent = a.Results[0].Verdict != consumer.VerdictUnsent
			}
			timeout /= 2
			expect(t, a, doubt)
			took := a.Done.Sub(a.Began)
			if early := name != "interim answers" && took < timeout; early || took > timeout+patience {
				t.Errorf("took %v, want about %v", took, timeout)
			}
		})
	}
}

// testOnce: whatever the provider does to a connection, nothing is sent again.
// That no item comes twice is checked for every subject.
func (h Harness) testOnce(t *testing.T) {
	tests := map[string]func(p *peer){
		"closed at once":           func(*peer) {},
		"reset at once":            func(p *peer) { p.reset() },
		"reset at the first byte":  func(p *peer) { _, _ = p.r.ReadByte(); p.reset() },
		"reset after the request":  func(p *peer) { p.next(); p.reset() },
		"closed after the request": func(p *peer) { p.next() },
		"closed when used again":   func(p *peer) { p.next(); creates(p); p.next() },
		"reset when used again":    func(p *peer) { p.next(); creates(p); p.next(); p.reset() },
		"closed while idle":        func(p *peer) { p.next(); creates(p) },
		"reset while idle":         func(p *peer) { p.next(); creates(p); p.reset() },
		"timed out before its use": func(p *peer) { p.answer(408, "", "Connection: close") },
		"timed out while idle":     func(p *peer) { p.next(); creates(p); p.answer(408, "", "Connection: close") },
		"redirected to itself":     func(p *peer) { p.next(); p.answer(307, "", "Location: "+p.last.uri) },
		"redirected and kept alive": func(p *peer) {
			for p.next() {
				p.answer(308, "", "Location: "+p.last.uri)
			}
		},
		"unavailable": func(p *peer) {
			for p.next() {
				p.answer(503, "", "Retry-After: 0")
			}
		},
		"misdirected": func(p *peer) {
			for p.next() {
				p.answer(421, "")
			}
		},
		"too early": func(p *peer) {
			for p.next() {
				p.answer(425, "")
			}
		},
	}
	for name, handle := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachTransport(t, func(t *testing.T, secure *tls.Config) {
				x := h.subject(t, secure, handle, func(cfg *Config) { cfg.Timeout = patience })
				for range 4 {
					before := len(x.s.all())
					b := x.batch(t, h.several())
					asked := 0
					b.Permit = func() error { asked++; return nil }
					x.create(t.Context(), t, b)
					if n := len(x.s.all()) - before; n > 1 || asked > 1 {
						t.Errorf("got %d requests and %d questions for permission, want one", n, asked)
					}
				}
			})
		})
	}
}

// testDoubt: what fails after the first byte may have been made.
func (h Harness) testDoubt(t *testing.T) {
	tests := map[string]func(p *peer){
		"reset at the first byte":   func(p *peer) { p.reset() },
		"closed":                    func(*peer) {},
		"reset after the header":    func(p *peer) { p.write(head(200, "Content-Length: 5000") + "{"); p.reset() },
		"header cut":                func(p *peer) { p.write("HTTP/1.1 200 OK\r\nContent-Type: app") },
		"header too long":           func(p *peer) { p.write(head(200, "X: "+strings.Repeat("x", 2<<20))) },
		"no HTTP":                   func(p *peer) { p.write("hello\r\n\r\n") },
		"another protocol":          func(p *peer) { p.write(head(101, "Upgrade: x", "Connection: Upgrade")); p.next() },
		"cut within the first id":   func(p *peer) { p.write(head(200, "Content-Length: 99999") + p.half()) },
		"chunk cut":                 func(p *peer) { p.write(head(200, "Transfer-Encoding: chunked") + "ffff\r\n" + p.half()) },
		"last chunk missing":        func(p *peer) { p.write(head(200, "Transfer-Encoding: chunked") + chunk(p.half())) },
		"length too short":          func(p *peer) { p.write(head(200, "Connection: close", "Content-Length: 8") + p.created()) },
		"whole and torn":            func(p *peer) { p.answer(200, p.half()) },
		"compressed":                func(p *peer) { p.answer(200, gzipped(p.created()), "Content-Encoding: gzip") },
		"compressed refusal":        func(p *peer) { p.answer(422, gzipped(h.Error("no")), "Content-Encoding: gzip") },
		"refusal cut":               func(p *peer) { p.write(head(422, "Content-Length: 9999") + h.Error("no")) },
		"refusal torn":              func(p *peer) { p.answer(422, p.half()) },
		"fullness cut":              func(p *peer) { p.write(head(429, "Content-Length: 9999") + h.Error("full")) },
		"fullness torn":             func(p *peer) { p.answer(429, p.half()) },
		"fullness cut before it":    func(p *peer) { p.write(head(429, "Content-Length: 9999")) },
		"a page":                    func(p *peer) { p.answer(200, "<html><title>Welcome</title></html>") },
		"a text":                    func(p *peer) { p.answer(200, "OK") },
		"garbage":                   func(p *peer) { p.answer(200, "\x00\xff{]") },
		"a failure with two bodies": func(p *peer) { p.answer(500, h.Error("no")+h.Error("no")) },
	}
	for name, handle := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, n := range h.sizes() {
				x := h.subject(t, nil, func(p *peer) {
					if name == "reset at the first byte" {
						_, _ = p.r.ReadByte()
					} else {
						p.next()
					}
					handle(p)
				})
				a := x.create(t.Context(), t, x.batch(t, n))
				expect(t, a, doubt)
				if a.Stop != "" {
					t.Errorf("got Stop %q, want none", a.Stop)
				}
			}
		})
	}
}

// half is what the provider says of the last request, up to the middle of the
// first id that it gave.
func (p *peer) half() string {
	made, body := p.made(), p.created()
	at := len(body)
	for _, m := range made {
		if i := strings.Index(body, m.ID); i >= 0 {
			at = min(at, i)
		}
	}
	return body[:min(len(body), at+len(made[0].ID)/2)]
}

// chunk is a text in the chunked coding, without the last chunk.
func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
