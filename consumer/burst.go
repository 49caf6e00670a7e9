package consumer

import (
	"context"
	"sync"
	"sync/atomic"
)

// mostHandled is how many batches of a lane may be under way. Of most of them only
// outcome and acknowledgement are left. Of what is claimed and not recorded, which a
// crash would leave in doubt, or is about to be, there are no more than mostClaimed
// batches, those in flight and as many whose answers are being written down; where a
// lane reads ahead for several channels, one more for each.
const (
	mostHandled = 4 * mostFlying
	mostClaimed = 2 * mostFlying
)

// further adds to a grant the others that there are at once, if the stream is known
// to have events for them: one fetch brings those of all, where each fetch takes
// longer than a batch of one. It returns how many slots they are.
func (ln *lane) further(g *grant) (grants []*grant, n int) {
	grants, n = append(grants, g), g.n
	for ln.more && len(grants) < mostFlying && ln.room(n+ln.cfg.Batch) {
		if g = ln.entry.spare(ln, ln.cfg.Batch); g == nil {
			break
		}
		grants, n = append(grants, g), n+g.n
	}
	return grants, n
}

// begin hands as many messages to a goroutine of their own as a grant has slots for,
// and returns the others.
func (ln *lane) begin(ctx context.Context, msgs []Message, g *grant) (rest []Message) {
	n := min(g.n, len(msgs))
	if unused := g.n - n; unused > 0 {
		g.release(unused)
	}
	if n == 0 {
		return nil
	}
	ln.enter(n)
	ln.e.work.Go(func() {
		defer ln.leave()
		ln.handle(ctx, msgs[:n:n], g)
	})
	return msgs[n:]
}

// enter and leave count the batches under way; enter also their events, until each is
// done with: see unload.
func (ln *lane) enter(events int) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.handling++
	ln.claiming += events
}

func (ln *lane) leave() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.handling--
	ln.notify()
}

// crowded reports whether no other batch may be under way.
func (ln *lane) crowded() bool { return !ln.room(ln.cfg.Batch) }

// room reports whether so many events more may be under way.
func (ln *lane) room(events int) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.handling < mostHandled && ln.claiming+events <= mostClaimed*ln.cfg.Batch
}

// unload counts n events of a batch that are not claimed and will not be, or whose
// answers are recorded.
func (ln *lane) unload(n int) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	was := ln.claiming
	if ln.claiming -= n; was > (mostClaimed-1)*ln.cfg.Batch && n > 0 { // it had no room
		ln.notify()
	}
}

// mostReaders is how many goroutines read entries of all lanes' batches besides the
// batches' own: far fewer than the requests that a broker lets wait (10,000). Some ten
// thousand more are not answered in time, and are repeated, all of them at one time, so
// that hardly any ever is.
const mostReaders = 512

// readers are those that help with a batch, a place for each.
type readers chan struct{}

// enter takes a place, if there is one.
func (r readers) enter() bool {
	select {
	case r <- struct{}{}:
		return true
	default:
		return false
	}
}

// share does n things, one after the other in this goroutine, and at the same time in
// as many others as there are places for.
func (r readers) share(n int, do func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			do(i)
		}
	}
	var wg sync.WaitGroup
	for helpers := 0; helpers < n-1 && r.enter(); helpers++ {
		wg.Go(func() {
			defer func() { <-r }()
			work()
		})
	}
	work()
	wg.Wait()
}
