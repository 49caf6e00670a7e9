//go:build chaos && linux

package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weirhq/weir/internal/chaos"
)

// The limits in weir.yaml of a round of baseRound events, and how fast
// conversations pass: the longest, ten minutes, takes four seconds.
const (
	baseRound    = 300
	orationLimit = 5
	callLimit    = 4
	textLimit    = 3
	chaosScale   = 150
)

// load is how much a round has of everything. A larger round has higher limits,
// larger requests and more publishers, so that it takes hardly longer, and more
// faults in that time.
type load struct {
	events  int
	factor  int // of a round of baseRound events; 1 and more
	batches []int
	senders int           // that publish at the same time
	latency time.Duration // of the providers: weir asks for the ends of calls four at a time

	deal   map[string]int // faults of each group
	window time.Duration  // in which the faults strike at least
	over   time.Duration  // in which the events are published
	turns  int            // of each fault, at least
	pause  time.Duration  // between two of a group, at most
	burst  int            // strikes of a cheap fault of a process
}

// loadOf returns the load of a round of so many events.
func loadOf(events int) load {
	l := load{
		events: events, factor: max(1, events/baseRound), batches: []int{1, 3, 5}, senders: 1, latency: 60 * time.Millisecond, over: 12 * time.Second,
		deal:  map[string]int{atProcess: 2, atBroker: 1, atProvider: 2, atAnswer: 3, atPublish: 1, atClock: 2},
		turns: 2, pause: 3 * time.Second, burst: 1,
	}
	if l.factor > 1 {
		l.batches, l.senders, l.latency = []int{3, 10, 20}, 8, 12*time.Millisecond
		l.deal = map[string]int{atProcess: 4, atBroker: 2, atProvider: 3, atAnswer: 3, atPublish: 2, atClock: 2}
		l.window, l.turns, l.pause, l.burst = 40*time.Second, 1, time.Second, 3
	}
	return l
}

func (l load) oration() int { return orationLimit * l.factor }
func (l load) calls() int   { return callLimit * l.factor }
func (l load) texts() int   { return textLimit * l.factor }

// settle is how long the calm may last until every event is at its end.
func (l load) settle(kind string) time.Duration {
	limit := 6 * time.Minute
	if kind == kindCluster || kind == kindFlip3 {
		limit = 10 * time.Minute
	}
	return limit + time.Duration(l.factor-1)*15*time.Second
}

// strike notes that a fault strikes, and begins its disturbance, which the
// returned function ends.
func (r *rig) strike(name, text string) (heal func()) {
	r.count(name, 1)
	return r.hist.Disturb(name, text)
}

// count notes how often a fault struck.
func (r *rig) count(name string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.struck[name] += n
}

// strikes returns how often each fault of the round struck.
func (r *rig) strikes() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.struck)
}

// bursts lets a cheap fault strike as often as the load has it.
func bursts(inject func(context.Context, *rig, *rand.Rand)) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		for i := range r.load.burst {
			if i > 0 && !r.rest(ctx, r.breath(d)) {
				return
			}
			inject(ctx, r, d)
		}
	}
}

// awake returns the weir that works, once there is one.
func (r *rig) awake(ctx context.Context) *chaos.Process {
	for {
		w := r.current()
		if text, _ := w.End(); text == "" || !r.rest(ctx, 50*time.Millisecond) {
			return w
		}
	}
}

// breath is how long a process may work between two strikes.
func (r *rig) breath(d *rand.Rand) time.Duration {
	if r.load.burst == 1 {
		return 3 * time.Second
	}
	return between(d, 500*time.Millisecond, 3*time.Second)
}

// disturb publishes the events while the faults strike, each group in turns of
// its own.
func (r *rig) disturb(ctx context.Context, p plan) {
	var wg sync.WaitGroup
	wg.Go(func() { r.publish(ctx, r.load.events, r.load.over) })
	groups := make(map[string][]fault)
	for _, f := range p.faults {
		if f.inject != nil {
			groups[f.group] = append(groups[f.group], f)
		}
	}
	end := time.Now().Add(r.load.window)
	for group, faults := range groups {
		wg.Go(func() {
			d := p.draw("inject " + group)
			for turn := 0; turn < r.load.turns || time.Now().Before(end); turn++ {
				for _, f := range faults {
					if !r.rest(ctx, between(d, 0, r.load.pause)) {
						return
					}
					f.inject(ctx, r, d)
				}
			}
		})
	}
	wg.Wait()
}
