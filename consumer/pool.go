package consumer

import (
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// pool is the slots of those conversations of an account that are counted
// together: all of them, or those of one channel. All its fields are under
// account.mu.
type pool struct {
	a       *account
	channel string
	counted bool // its conversations hold slots; else only the requests do
	limiter *ratelimiter.Limiter
	flying  int               // grants with a slot of which nothing is decided yet
	window  int               // how many of them there may be: 1 at first and after a doubt, one more with each request that creates
	careful bool              // after a doubt, until a conversation is created: one item at a time
	waiters []*waiter         // lanes that want slots
	calls   order             // its live conversations that can be asked for, by when they were asked for last
	clock   float64           // virtual time of the fair shares: the pass of the last lane served
	passes  map[*lane]float64 // share of the slots that each lane used, in that time
}

// waiter is a lane's wish for slots.
type waiter struct {
	ln   *lane
	most int
	sure bool        // an event is known to wait for them; under account.mu
	got  chan *grant // buffered; receives once
}

// grant is a number of slots taken for a lane. Each of them is decided exactly
// once, by release or by learn.
type grant struct {
	pool  *pool
	n     int
	known int // slots known to be free before this grant: Batch.Free
	left  int // slots not decided yet; under account.mu
}

// uncounted is the limit of what has none: nothing is ever refused because of
// it.
const uncounted = 1 << 20

func newPool(a *account, channel string, cfg ratelimiter.Config, counted bool) *pool {
	if !counted {
		cfg.Limit, cfg.LimitMax, cfg.Reserve = uncounted, 0, 0
	}
	cfg.Looks = true
	return &pool{
		a: a, channel: channel, counted: counted,
		limiter: ratelimiter.New(cfg), window: 1, passes: make(map[*lane]float64),
	}
}

// mostFlying is how far the window opens.
const mostFlying = 8

// serve hands free slots to the lanes that wait, by weight, and returns when to
// look again (zero: on the next change).
func (p *pool) serve(now time.Time) time.Time {
	for len(p.waiters) > 0 {
		n, next := p.permit(now)
		if n == 0 {
			return next
		}
		known := p.limiter.Known()
		shares := p.share(n)
		rest := make([]*waiter, 0, len(p.waiters))
		for i, w := range p.waiters {
			if shares[i] == 0 {
				rest = append(rest, w)
				continue
			}
			p.limiter.Take(shares[i])
			p.flying++
			w.got <- &grant{pool: p, n: shares[i], known: known, left: shares[i]}
		}
		p.waiters = rest
	}
	return time.Time{}
}

// permit is how many slots may be granted now.
func (p *pool) permit(now time.Time) (int, time.Time) {
	single := p.careful
	if p.a.e.cfg.Fence() != nil {
		return 0, now.Add(200 * time.Millisecond)
	}
	switch p.a.breaker.State() {
	case "open":
		return 0, now.Add(50 * time.Millisecond)
	case "half-open":
		if p.a.breaker.Due() != ratelimiter.Trial || p.a.flying() > 0 {
			return 0, time.Time{}
		}
		single = true
	}
	if p.flying >= p.window {
		return 0, time.Time{}
	}
	n, next := p.limiter.Permit(now)
	if single {
		n = min(n, 1)
	}
	return n, next
}

// share divides n slots among the waiters, each next one to the lane that got
// the least for its weight; no more of them get any than the window has room
// for.
func (p *pool) share(n int) []int {
	shares := make([]int, len(p.waiters))
	room := p.window - p.flying
	for range n {
		best := -1
		for i, w := range p.waiters {
			open := shares[i] > 0 || room > 0
			if open && shares[i] < w.most && (best < 0 || p.passes[w.ln] < p.passes[p.waiters[best].ln]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		if shares[best] == 0 {
			room--
		}
		shares[best]++
		ln := p.waiters[best].ln
		p.clock = p.passes[ln]
		p.passes[ln] += 1 / float64(ln.cfg.Weight)
	}
	return shares
}

// request asks for at most most slots for the lane, sure if an event is known to
// wait for them; the grant comes on the waiter's channel.
func (p *pool) request(ln *lane, most int, sure bool) *waiter {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	p.passes[ln] = max(p.passes[ln], p.clock)
	w := &waiter{ln: ln, most: most, sure: sure, got: make(chan *grant, 1)}
	p.waiters = append(p.waiters, w)
	p.serve(time.Now())
	p.a.wake()
	return w
}

// spare returns what slots there are for a lane at once, at most most; nil if there
// are none, or others wait for them.
func (p *pool) spare(ln *lane, most int) *grant {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	if len(p.waiters) > 0 {
		return nil
	}
	w := &waiter{ln: ln, most: most, sure: true, got: make(chan *grant, 1)}
	p.waiters = append(p.waiters, w)
	p.serve(time.Now())
	p.waiters = p.waiters[:0]
	select {
	case g := <-w.got:
		return g
	default:
		return nil
	}
}

// urge notes that an event waits for a wish's slots.
func (p *pool) urge(w *waiter) {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	if !w.sure {
		w.sure = true
		p.a.wake()
	}
}

// withdraw ends a wish and gives back what was granted meanwhile.
func (p *pool) withdraw(w *waiter) {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	for i, other := range p.waiters {
		if other == w {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return
		}
	}
	select {
	case g := <-w.got:
		p.limiter.Return(g.n)
		g.decided(g.n)
	default:
	}
}

// release returns n slots of a grant that turned out not to be needed.
func (g *grant) release(n int) {
	g.pool.a.mu.Lock()
	defer g.pool.a.mu.Unlock()
	g.pool.limiter.Return(n)
	g.decided(n)
}

// decided notes that n slots of a grant are given back or held. The caller
// holds mu.
func (g *grant) decided(n int) {
	if g.left -= n; g.left == 0 {
		g.pool.flying--
	}
	g.pool.a.wake()
}

// observe enters what an answer says of the limits. Counts of conversations are
// no word on those that are not counted here. The caller holds mu.
func (p *pool) observe(o ratelimiter.Outcome) ratelimiter.Refusal {
	if !p.counted && o.Reading.Concurrency {
		o.Reading = ratelimiter.Reading{Limit: -1, Remaining: -1, RetryAfter: o.Reading.RetryAfter}
	}
	return p.limiter.Observe(o)
}

// opening returns when the limiter expects to open, at most a minute away.
func (p *pool) opening(now time.Time) time.Duration {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	n, next := p.limiter.Permit(now)
	if n > 0 || next.IsZero() {
		return 15 * time.Second // called back as soon as a slot is free
	}
	return min(max(next.Sub(now), 100*time.Millisecond), time.Minute)
}
