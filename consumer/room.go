package consumer

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// A lane whose events go to several channels cannot tell before it has read one
// which slot it needs. Such a lane reads ahead: an event whose channel holds no
// slot is sent at once, any other waits in the room of its channel until a slot
// is free there. So mail never waits behind calls, unless there are more calls
// ahead of it than the rooms of a lane hold. What is in a room is still the
// broker's: it is kept alive, and given back when the lane stops.
const (
	roomMessages = 2000     // of all rooms of a lane
	roomBytes    = 16 << 20 // the same
)

// room holds the messages of a lane that wait for a slot of one pool: those of
// high priority before the others, each in the order of their coming.
type room struct {
	ln   *lane
	pool *pool
	came chan struct{} // a token after each park

	mu   sync.Mutex
	msgs []Message
}

// rooms are a lane's.
type rooms struct {
	mu    sync.Mutex
	all   map[*pool]*room
	count int
	bytes int
}

// park puts a message into the room of a pool, and opens the room if it is the
// first.
func (ln *lane) park(ctx context.Context, p *pool, m Message) {
	ln.rooms.mu.Lock()
	r := ln.rooms.all[p]
	if r == nil {
		r = &room{ln: ln, pool: p, came: make(chan struct{}, 1)}
		ln.rooms.all[p] = r
		ln.e.work.Go(func() { r.run(ctx) })
	}
	ln.rooms.count++
	ln.rooms.bytes += len(m.Data())
	ln.rooms.mu.Unlock()
	r.add(m)
	if ctx.Err() != nil { // the room may be closed already
		r.empty()
	}
	select {
	case r.came <- struct{}{}:
	default:
	}
}

// add puts a message behind those of its priority.
func (r *room) add(m Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := len(r.msgs)
	for at > 0 && byPriority(m, r.msgs[at-1]) < 0 {
		at--
	}
	r.msgs = slices.Insert(r.msgs, at, m)
}

// full reports whether the rooms take no more.
func (rs *rooms) full() bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.count >= roomMessages || rs.bytes >= roomBytes
}

// take returns up to n messages, the oldest first.
func (r *room) take(n int) []Message {
	r.mu.Lock()
	n = min(n, len(r.msgs))
	out := append([]Message(nil), r.msgs[:n]...)
	r.msgs = append(r.msgs[:0:0], r.msgs[n:]...)
	r.mu.Unlock()
	if n == 0 {
		return nil
	}
	r.ln.rooms.mu.Lock()
	r.ln.rooms.count -= len(out)
	for _, m := range out {
		r.ln.rooms.bytes -= len(m.Data())
	}
	r.ln.rooms.mu.Unlock()
	r.ln.mu.Lock()
	r.ln.notify() // the lane may read on
	r.ln.mu.Unlock()
	return out
}

func (r *room) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.msgs)
}

// run sends what is in the room as slots come free, until ctx ends.
func (r *room) run(ctx context.Context) {
	beat := time.NewTicker(r.ln.e.cfg.Heartbeat)
	defer beat.Stop()
	for ctx.Err() == nil {
		p, changed := r.ln.paused()
		if p != nil {
			r.empty()
		}
		var w *waiter
		var got chan *grant
		if n := r.len(); n > 0 && !r.ln.crowded() {
			w = r.pool.request(r.ln, min(n, r.ln.cfg.Batch), true)
			got = w.got
		}
		r.wait(ctx, w, got, changed, beat.C)
	}
	r.empty()
}

// wait waits for a grant, and uses it, or for a change.
func (r *room) wait(ctx context.Context, w *waiter, got chan *grant, changed <-chan struct{}, beat <-chan time.Time) {
	for {
		select {
		case g := <-got:
			r.serve(ctx, g)
			return
		case <-beat:
			r.sign()
			continue
		case <-r.came:
			if w != nil {
				continue // the wish stands
			}
			return
		case <-changed:
		case <-ctx.Done():
		}
		if w != nil {
			r.pool.withdraw(w)
		}
		return
	}
}

// serve sends as many messages as the grant allows.
func (r *room) serve(ctx context.Context, g *grant) {
	var msgs []Message
	if ctx.Err() == nil {
		msgs = r.take(g.n)
	}
	if unused := g.n - len(msgs); unused > 0 {
		g.release(unused)
	}
	if len(msgs) == 0 {
		return
	}
	r.ln.enter(len(msgs))
	r.ln.e.work.Go(func() {
		defer r.ln.leave()
		r.ln.handle(ctx, msgs, g)
	})
}

// sign tells the broker that the messages are not forgotten.
func (r *room) sign() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.msgs {
		_ = m.Progress() // a lost one costs at most a second delivery
	}
}

// empty gives all messages back.
func (r *room) empty() {
	for _, m := range r.take(math.MaxInt) {
		refuse(m)
	}
}
