package console

import (
	"context"
	"errors"
	"sync"
	"time"
)

// How the lanes are looked at: not more often than fresh, whoever asks, and every
// so often if nobody does, for the history. A look that takes long makes the next
// one come later, so that many lanes cost no more than a tenth of the time.
const (
	fresh      = 900 * time.Millisecond
	sampleWait = 10 * time.Second
	lookFor    = 8 * time.Second
)

// board knows the newest look at the lanes, and their last hour. Its methods may be
// called concurrently.
type board struct {
	look func(context.Context) (Overview, error)

	mu      sync.Mutex
	busy    chan struct{} // closed when the look that runs has ended; nil: none runs
	at      time.Time     // when the newest look ended
	last    Overview      // the newest that was good; At is zero if there was none
	err     error         // of the newest look
	history history
}

func newBoard(look func(context.Context) (Overview, error)) *board {
	return &board{look: look, history: history{lanes: make(map[string]*track)}}
}

// overview returns what is known now. If the newest look failed, it is the last that
// did not, with the trouble; without any it is the error.
func (b *board) overview(ctx context.Context) (Overview, error) {
	for {
		b.mu.Lock()
		if !b.at.IsZero() && time.Since(b.at) < fresh {
			defer b.mu.Unlock()
			return b.known()
		}
		busy := b.busy
		if busy == nil {
			busy = make(chan struct{})
			b.busy = busy
			go b.renew(context.WithoutCancel(ctx), busy)
		}
		b.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.late(busy, ctx.Err())
		}
	}
}

// late is what a visitor gets whose time was over before a look was. Who went away
// has found out nothing. The caller holds mu.
func (b *board) late(look chan struct{}, why error) (Overview, error) {
	if errors.Is(why, context.DeadlineExceeded) && b.busy == look && b.err == nil {
		b.err = Away{Err: errors.New("no answer in time")}
	}
	if b.err == nil && b.last.At.IsZero() {
		return b.last, why
	}
	return b.known()
}

// known is the newest good look, told of the trouble since. The caller holds mu.
func (b *board) known() (Overview, error) {
	o := b.last
	if b.err == nil {
		return o, nil
	}
	if o.At.IsZero() {
		return o, b.err
	}
	_, t, _ := explain(b.err)
	o.Stale = true
	o.Trouble = append([]string{t.all()}, o.Trouble...)
	return o, nil
}

// renew looks once.
func (b *board) renew(ctx context.Context, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	o, err := b.look(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy, b.at, b.err = nil, time.Now(), err
	if err == nil {
		if o.At.IsZero() {
			o.At = b.at
		}
		b.last = o
		b.history.enter(o)
	}
}

// run looks now and then until ctx ends.
func (b *board) run(ctx context.Context) {
	for {
		began := time.Now()
		_, _ = b.overview(ctx) // what is wrong is shown
		wait := max(sampleWait, 10*time.Since(began))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// hour returns what is drawn of a lane's last hour, and since when it is known.
func (b *board) hour(lane string, now time.Time) (hour []minute, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.history.hour(lane, now), b.history.since
}
