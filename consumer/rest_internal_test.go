package consumer

import (
	"testing"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// An account with nothing to look at looks seldom, and is woken by the first call; one
// that waits for a slot, or whose breaker is open, does not rest.
func TestAnAccountWithNothingToLookAtRests(t *testing.T) {
	t.Parallel()
	a := shelved(t)
	a.e.cfg.Fence = func() error { return nil }
	next := func() time.Duration { return a.tick(t.Context(), time.Now()) }
	if got := next(); got != restFor {
		t.Errorf("nothing to look at: got the next look after %v, want %v", got, restFor)
	}
	p := a.pools["telephone"]
	p.flying++
	if got := next(); got > time.Second {
		t.Errorf("an event on its way: got the next look after %v, want a second at most", got)
	}
	p.flying--
	p.waiters = []*waiter{{ln: &lane{}, most: 0, got: make(chan *grant, 1)}}
	if a.rests() {
		t.Error("an event waits for a slot, and the account rests")
	}
	p.waiters = nil
	if len(a.kick) != 0 {
		t.Fatal("woken for nothing")
	}
	a.enter(&lane{a: a}, p, slotKey{}, time.Now(), true)
	if len(a.kick) != 1 {
		t.Error("the first call did not wake the account")
	}
	if got := next(); got > time.Second {
		t.Errorf("a call is live: got the next look after %v, want a second at most", got)
	}
	broken := shelved(t)
	done, err := broken.breaker.Begin(ratelimiter.Trial)
	if err != nil {
		t.Fatal(err)
	}
	done(ratelimiter.Fatal)
	if got := broken.tick(t.Context(), time.Now()); got > time.Second {
		t.Errorf("the breaker is open: got the next look after %v, want a second at most", got)
	}
}
