package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/ledger"
)

// faulty is a ledger behind a proxy, and the broker's own view of it.
type faulty struct {
	*proxy
	l      *ledger.Ledger // behind the proxy
	direct *ledger.Ledger
	stream jetstream.Stream
}

func newFaulty(t *testing.T, budget time.Duration) faulty {
	t.Helper()
	url, _ := start(t, t.TempDir(), "")
	p := newProxy(t, url)
	js := connect(t, url)
	direct := open(t, js, ledger.Config{})
	s, err := js.Stream(t.Context(), ledger.Stream)
	if err != nil {
		t.Fatal(err)
	}
	var behind *ledger.Ledger
	slow := connect(t, "nats://"+p.addr)
	eventually(t, "the ledger opens", func(ctx context.Context) bool { // within the budget, which may be short
		behind, err = ledger.Open(ctx, slow, ledger.Config{Budget: budget, MaxBytes: 64 << 20})
		return err == nil
	})
	return faulty{proxy: p, l: behind, direct: direct, stream: s}
}

func (f faulty) messages(ctx context.Context) uint64 {
	info, err := f.stream.Info(ctx)
	if err != nil {
		return 0
	}
	return info.State.LastSeq
}

type result struct {
	revision uint64
	err      error
}

// store runs Store behind the proxy.
func (f faulty) store(ctx context.Context, in consumer.Intent, revision uint64) <-chan result {
	done := make(chan result, 1)
	go func() {
		var r result
		r.revision, r.err = f.l.Store(ctx, in, revision)
		done <- r
	}()
	return done
}

const budget = 45 * time.Second // half a minute more than a test needs on a busy machine

func TestStoredButTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, budget)
	f.set(loseAnswers)
	done := f.store(t.Context(), intent(1), 0)
	eventually(t, "the write is stored", func(ctx context.Context) bool { return f.messages(ctx) == 1 })
	f.heal()
	if r := <-done; r.err != nil || r.revision != 1 {
		t.Fatalf("store: got %d, %v; want 1, nil", r.revision, r.err)
	}
	if got := f.messages(t.Context()); got != 1 {
		t.Errorf("messages stored: got %d, want 1", got)
	}
	if _, err := f.l.Store(t.Context(), intent(1), 1); err != nil {
		t.Errorf("the next store: got %v", err)
	}
}

func TestNotStoredAndTheRequestIsLost(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, budget)
	f.set(loseRequests)
	done := f.store(t.Context(), intent(1), 0)
	f.await(100)
	f.heal()
	if r := <-done; r.err != nil || r.revision != 1 {
		t.Fatalf("store: got %d, %v; want 1, nil", r.revision, r.err)
	}
}

func TestStoredAnswerLostAndOverwritten(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, budget)
	f.set(loseAnswers)
	done := f.store(t.Context(), intent(1), 0)
	eventually(t, "the write is stored", func(ctx context.Context) bool { return f.messages(ctx) == 1 })
	if _, err := f.direct.Store(t.Context(), intent(1), 1); err != nil {
		t.Fatal(err)
	}
	f.heal()
	if r := <-done; !errors.Is(r.err, consumer.ErrConflict) {
		t.Fatalf("store: got %d, %v; want ErrConflict, since another write is the newest", r.revision, r.err)
	}
}

func TestNotStoredAndAnotherWriterWasFaster(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, budget)
	f.set(loseRequests)
	done := f.store(t.Context(), intent(1), 0)
	f.await(100)
	if _, err := f.direct.Store(t.Context(), intent(1), 0); err != nil {
		t.Fatal(err)
	}
	f.heal()
	if r := <-done; !errors.Is(r.err, consumer.ErrConflict) {
		t.Fatalf("store: got %d, %v; want ErrConflict", r.revision, r.err)
	}
}

// The requests of several attempts arrive together, late: one is stored, its
// twins are refused, and the write is known to be ours.
func TestLateTwinsAreHarmless(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, budget)
	f.set(delayRequests)
	done := f.store(t.Context(), intent(1), 0)
	f.await(2000) // bytes: more than one attempt has
	f.set(pass)   // they go on, nothing was lost
	if r := <-done; r.err != nil || r.revision != 1 {
		t.Fatalf("store: got %d, %v; want 1, nil", r.revision, r.err)
	}
	if _, err := f.l.Store(t.Context(), intent(2), 0); err != nil { // the twins have been answered by now
		t.Fatal(err)
	}
	if got := f.messages(t.Context()); got != 2 {
		t.Errorf("messages stored: got %d, want 2", got)
	}
}

// A write whose budget ended is unknown, and what arrives later loses against
// what was written meanwhile.
func TestALateWriteLoses(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 200*time.Millisecond)
	f.set(delayRequests)
	done := f.store(t.Context(), intent(1), 0)
	if r := <-done; r.err == nil || errors.Is(r.err, consumer.ErrConflict) {
		t.Fatalf("store without an answer: got %d, %v; want an error that leaves it unknown", r.revision, r.err)
	}
	in := intent(1)
	in.Nonce = "the other"
	if _, err := f.direct.Store(t.Context(), in, 0); err != nil {
		t.Fatal(err)
	}
	f.set(pass)
	eventually(t, "the connection works again", func(ctx context.Context) bool {
		_, _, err := f.l.Load(ctx, lane, key(1))
		return err == nil
	})
	if got, _, err := f.direct.Load(t.Context(), lane, key(1)); err != nil || got.Nonce != "the other" {
		t.Errorf("stored: got %q, %v; want the other's", got.Nonce, err)
	}
}

// TestFault19AWriteBehindAnother stores an entry while an earlier write of it waits
// for the quorum of a replicated stream: nobody is known to be faster until that
// one is stored.
func TestFault19AWriteBehindAnother(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{"dropped in the end": nil, "stored in the end": consumer.ErrConflict} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := startServer(t, t.TempDir(), "")
			js := connect(t, s.ClientURL())
			l, other := open(t, js, ledger.Config{}), open(t, connect(t, s.ClientURL()), ledger.Config{})
			revision, err := l.Store(t.Context(), intent(1), 0)
			if err != nil {
				t.Fatal(err)
			}
			subject := "$KV.WEIR_LEDGER." + lane + "." + key(1)
			refused := 0
			_, err = js.Conn().Subscribe("under.way", func(m *nats.Msg) {
				if refused++; refused == 3 {
					s.GlobalAccount().RemoveMapping(subject)
					if want != nil {
						if _, err := other.Store(t.Context(), intent(1), revision); err != nil {
							t.Error(err)
						}
					}
				}
				_ = m.Respond([]byte(`{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"KV_WEIR_LEDGER","seq":0}`))
			})
			if err = errors.Join(err, js.Conn().Flush(), s.GlobalAccount().AddMapping(subject, "under.way")); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Store(t.Context(), intent(1), revision); !errors.Is(err, want) {
				t.Errorf("store: got %v, want %v", err, want)
			}
			if refused != 3 {
				t.Errorf("writes that were refused: got %d, want 3", refused)
			}
		})
	}
}

func TestStoreOutlastsARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url, stop := start(t, dir, "")
	p := newProxy(t, url)
	l := open(t, connect(t, "nats://"+p.addr), ledger.Config{})
	stop()
	done := faulty{l: l}.store(t.Context(), intent(1), 0)
	url, _ = start(t, dir, "")
	p.mu.Lock()
	p.target = url[len("nats://"):]
	p.mu.Unlock()
	if r := <-done; r.err != nil || r.revision != 1 {
		t.Fatalf("store: got %d, %v; want 1, nil", r.revision, r.err)
	}
}
