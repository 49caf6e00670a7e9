package providertest

import (
	"crypto/tls"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirhq/weir/consumer"
)

const (
	maxRead  = 64 << 20  // bytes of an answer that a client may take
	maxAlloc = 512 << 20 // bytes that it may cost in all
)

// testConnections: a create uses a connection that is new or was just used, and
// none that queries use (H24).
func (h Harness) testConnections(t *testing.T) {
	t.Run("used again at once", func(t *testing.T) {
		t.Parallel()
		eachTransport(t, func(t *testing.T, secure *tls.Config) {
			x := h.answers(t, secure, creates)
			for n := 1; ; n++ {
				expect(t, x.create(t.Context(), t, x.batch(t, 1)), created)
				conns, _, requests := x.s.counts()
				if requests != n || n == tries {
					t.Fatalf("got %d connections for %d of %d requests, want fewer", conns, requests, n)
				}
				if conns < requests {
					break
				}
			}
		})
	})
	t.Run("closed when used again", h.closedWhenUsedAgain)
	t.Run("not kept for long", func(t *testing.T) {
		t.Parallel()
		idle := make(chan time.Duration, 1)
		x := h.subject(t, nil, func(p *peer) {
			p.next()
			creates(p)
			began := time.Now()
			p.next()
			idle <- time.Since(began)
		})
		expect(t, x.create(t.Context(), t, x.batch(t, 1)), created)
		select {
		case got := <-idle:
			if got > 2*time.Second+patience/2 {
				t.Errorf("a connection was idle for %v, want 2s at most", got)
			}
		case <-time.After(2 * patience):
			t.Error("a connection is kept idle")
		}
	})
	t.Run("not shared with queries", func(t *testing.T) {
		t.Parallel()
		x := h.answers(t, nil, func(p *peer) {
			if strings.HasPrefix(p.last.line, "GET ") {
				p.answer(200, h.Conversation(someID, false, ""))
				return
			}
			creates(p)
		})
		if _, err := x.ask(t.Context(), t, someID); err != nil {
			t.Errorf("Conversation: %v", err)
		}
		expect(t, x.create(t.Context(), t, x.batch(t, 1)), created)
		if _, err := x.ask(t.Context(), t, someID); err != nil {
			t.Errorf("Conversation: %v", err)
		}
		of := make(map[string]map[int]bool)
		for _, r := range x.s.all() {
			method, _, _ := strings.Cut(r.line, " ")
			if of[method] == nil {
				of[method] = make(map[int]bool)
			}
			of[method][r.conn] = true
		}
		for conn := range of["POST"] {
			if of["GET"][conn] {
				t.Error("a create and a query were on one connection")
			}
		}
	})
}

// closedWhenUsedAgain is the trap of a transport that repeats a request by
// itself: the provider reads it, acts, and drops the connection.
func (h Harness) closedWhenUsedAgain(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, secure *tls.Config) {
		for n := 1; ; n++ {
			x := h.subject(t, secure, func(p *peer) {
				p.next()
				creates(p)
				p.next()
			})
			expect(t, x.create(t.Context(), t, x.batch(t, 1)), created)
			a := x.create(t.Context(), t, x.batch(t, 1))
			conns, _, requests := x.s.counts()
			if conns == 2 && n < tries {
				continue
			}
			expect(t, a, doubt)
			if conns != 1 || requests != 2 {
				t.Errorf("got %d connections and %d requests, want 1 and 2", conns, requests)
			}
			return
		}
	})
}

// testConcurrency: the methods may be called at once, also for one prepared
// request.
func (h Harness) testConcurrency(t *testing.T) {
	x := h.answers(t, nil, func(p *peer) {
		if strings.HasPrefix(p.last.line, "GET ") {
			p.answer(200, h.Conversation(someID, true, ""))
			return
		}
		creates(p)
	})
	prepared := x.request(t, h.Requests[0])
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				it := x.item(h.Requests[0], prepared)
				expect(t, x.create(t.Context(), t, consumer.Batch{Items: []consumer.Item{it}, Free: 1, Permit: allow}), created)
			}
		})
		wg.Go(func() {
			for range 4 {
				if _, err := x.ask(t.Context(), t, someID); err != nil {
					t.Errorf("Conversation: %v", err)
				}
				if _, err := x.Prepare(h.Requests[1]); err != nil {
					t.Errorf("Prepare: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// testClose: a client that was closed leaves no connection and no goroutine,
// whatever became of its requests. It is not parallel, and nothing above it may
// be: the goroutines of other tests would count.
func (h Harness) testClose(t *testing.T) {
	t.Setenv("PROVIDERTEST", "alone") // panics in a parallel test
	others := goleak.IgnoreCurrent()
	t.Run("leaves nothing", func(t *testing.T) {
		x := h.subject(t, nil, func(p *peer) {
			for p.next() {
				switch {
				case strings.HasPrefix(p.last.line, "GET "):
					p.answer(200, h.Conversation(someID, true, ""))
				case p.n == 1:
					creates(p)
					p.next()
					p.reset()
				case p.n == 2:
					p.write(head(200) + "[")
					p.next() // waits for the client to go
				default:
					creates(p)
				}
			}
		}, func(cfg *Config) { cfg.Timeout = 200 * time.Millisecond })
		for range 4 {
			x.create(t.Context(), t, x.batch(t, 1))
		}
		if _, err := x.ask(t.Context(), t, someID); err != nil {
			t.Errorf("Conversation: %v", err)
		}
		x.Close()
		conns, _, _ := x.s.counts()
		x.s.wait(t, conns)
	})
	for end := time.Now().Add(patience); goleak.Find(others) != nil && time.Now().Before(end); { // it waits by itself
	}
	goleak.VerifyNone(t, others)
}

// testMemory: an answer without end is given up long before the time-out, and
// costs little. It is not parallel: it counts the memory of the process.
func (h Harness) testMemory(t *testing.T) {
	for name, begin := range map[string]string{"body": head(200) + `{"odd":"`, "error": head(422) + `{"odd":"`, "header": "HTTP/1.1 200 OK\r\nX: "} {
		t.Run(name, func(t *testing.T) {
			x := h.subject(t, nil, func(p *peer) {
				p.next()
				p.write(begin)
				for more := strings.Repeat("x", 64<<10); p.s.written() < 4*maxRead && p.write(more); {
				}
			})
			b := x.batch(t, h.several())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := x.create(t.Context(), t, b)
			runtime.ReadMemStats(&after)
			expect(t, a, doubt)
			if n := after.TotalAlloc - before.TotalAlloc; n > maxAlloc {
				t.Errorf("took %d MiB, want at most %d", n>>20, maxAlloc>>20)
			}
			if _, err := x.ask(t.Context(), t, someID); err == nil {
				t.Error("Conversation: got no error")
			}
			x.Close()
			x.s.wait(t, 2)
			if n := x.s.written(); n > 2*maxRead {
				t.Errorf("%d MiB were read of two answers, want at most %d each", n>>20, maxRead>>20)
			}
		})
	}
}
