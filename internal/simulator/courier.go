package simulator

import (
	"bytes"
	"container/heap"
	"context"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

const (
	// tryAgain is the pause before a webhook that was not taken is sent again.
	tryAgain = time.Second
	// couriers is how many webhooks are on their way at once.
	couriers = 16
)

// courier sends webhooks when they are due. The zero courier has none to send;
// its methods are safe on nil.
type courier struct {
	sim    *Simulator
	cfg    Webhooks
	client *http.Client
	kick   chan struct{}

	mu    sync.Mutex
	queue parcels
	count map[string]int // by what became of them
}

// parcel is one or more webhooks of a conversation on their way, one after the
// other.
type parcel struct {
	due    time.Time
	tries  int           // of the first one, so far
	gap    time.Duration // before the next one
	body   []byte        // fixed; nil: of the call, as it is when it is sent
	call   *call
	events []string
	id     string // the call's, as it is spelled
}

func newCourier(s *Simulator, cfg Webhooks) *courier {
	if cfg.URL == "" {
		return nil
	}
	return &courier{
		sim: s, cfg: cfg, kick: make(chan struct{}, 1), count: make(map[string]int),
		client: &http.Client{
			Timeout:       15 * time.Second,
			Transport:     &http.Transport{MaxIdleConnsPerHost: couriers, IdleConnTimeout: time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// plan puts the webhooks of new conversations into the queue. Call it within the
// account's do.
func (c *courier) plan(made []*call) {
	if c == nil {
		return
	}
	for _, conv := range made {
		for _, p := range c.parcels(conv) {
			c.post(p)
		}
	}
}

// parcels are the webhooks of one conversation.
func (c *courier) parcels(conv *call) []parcel {
	m := c.cfg.mischief(c.sim.manner.seed, conv.nth)
	id := conv.ID
	if m.prefixed {
		id = "conv_" + conv.ID[:8]
	}
	var out []parcel
	if m.early {
		c.note("early")
		out = append(out, parcel{due: conv.Created, call: conv, events: []string{eventCompleted}, id: id})
	}
	if m.never {
		c.note("never")
		return out
	}
	events := []string{eventCompleted, eventAnalysed}
	if m.disorder {
		c.note("disorder")
		events = []string{eventAnalysed, eventCompleted}
	}
	if m.twice {
		c.note("twice")
		events = append(events, events...)
	}
	if m.late > 0 {
		c.note("late")
	}
	return append(out, parcel{due: conv.Ends.Add(m.late + m.delay), gap: m.delay, call: conv, events: events, id: id})
}

// post puts one webhook into the queue.
func (c *courier) post(p parcel) {
	c.mu.Lock()
	heap.Push(&c.queue, p)
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (c *courier) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[what]++
}

// next returns the first webhook that is due, or how long none will be.
func (c *courier) next(now time.Time) (p parcel, ok bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return parcel{}, false, time.Hour
	}
	if wait := c.queue[0].due.Sub(now); wait > 0 {
		return parcel{}, false, wait
	}
	return heap.Pop(&c.queue).(parcel), true, 0
}

// run sends what is due until ctx ends.
func (c *courier) run(ctx context.Context) {
	if c == nil {
		return
	}
	defer c.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := make(chan struct{}, couriers)
	for ctx.Err() == nil {
		p, ok, wait := c.next(time.Now())
		if !ok {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-timer.C:
			case <-c.kick:
			}
			timer.Stop()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case busy <- struct{}{}:
		}
		wg.Go(func() {
			defer func() { <-busy }()
			c.deliver(ctx, p)
		})
	}
}

// deliver sends one webhook, and keeps it for later if it was not taken, or those
// that come after it.
func (c *courier) deliver(ctx context.Context, p parcel) {
	body := p.body
	if body == nil {
		c.sim.account.do(func(now time.Time) { body = encode(envelopeOf(p.call, p.events[0], now, p.id)) })
	}
	c.note("sent")
	p.tries++
	switch {
	case c.taken(ctx, body):
		c.note("taken")
	case p.tries < c.cfg.Tries:
		p.due = time.Now().Add(tryAgain)
		c.post(p)
		return
	default:
		c.note("given_up")
	}
	if len(p.events) > 1 {
		p.events, p.tries, p.due = p.events[1:], 0, time.Now().Add(p.gap)
		c.post(p)
	}
}

// taken reports whether a webhook was answered 2xx.
func (c *courier) taken(ctx context.Context, body []byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	return resp.StatusCode/100 == 2
}

// report fills in the courier's part of a report.
func (c *courier) report(r *Report) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Webhooks = make(map[string]int, len(c.count))
	maps.Copy(r.Webhooks, c.count)
}

// parcels are a heap, the next one that is due first.
type parcels []parcel

func (p parcels) Len() int           { return len(p) }
func (p parcels) Less(i, j int) bool { return p[i].due.Before(p[j].due) }
func (p parcels) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *parcels) Push(x any)        { *p = append(*p, x.(parcel)) }

func (p *parcels) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	*p = (*p)[:last]
	return x
}
