package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// TestStormWithWebhooks is TestStorm with webhooks of every kind beside it: in
// time, late, twice, never, before the end and before the answer, under another
// spelling, and forged; in every other world the provider has a list. Whatever they
// say, what holds without them holds.
func TestStormWithWebhooks(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) {
		s.w.chance.bottomless = false // a webhook that lies frees its slot, once
		spread := &spreader{w: s.w, r: rand.New(rand.NewPCG(s.seed, 3)), sent: make(map[string]bool)}
		stop := spread.start(t)
		defer stop()
		s.play(func(c *consumer.Config) {
			s.batches(c)
			if s.seed%2 == 0 {
				c.Accounts[0].Provider = telling{c.Accounts[0].Provider.(*process)}
			}
		})
	})
}

// spreader sends webhooks to whichever process works.
type spreader struct {
	w    *world
	r    *rand.Rand // under w.mu
	sent map[string]bool
	wg   sync.WaitGroup
}

func (s *spreader) start(t *testing.T) (stop func()) {
	over := make(chan struct{})
	s.wg.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Second):
			}
			s.w.do(func() { s.spread(over) })
		}
	})
	return func() { close(over); s.wg.Wait() }
}

// spread plans the webhooks of the conversations that are new. The caller holds
// w.mu.
func (s *spreader) spread(over <-chan struct{}) {
	for _, intent := range slices.Sorted(maps.Keys(s.w.made)) {
		for _, id := range s.w.made[intent] {
			until, lives := s.w.live[id]
			if s.sent[id] || !lives {
				continue
			}
			s.sent[id] = true
			it := s.w.asked[id]
			r := consumer.Report{Conversation: id, Intent: it.Intent, Attempt: it.Attempt, Ended: true}
			end := time.Until(until)
			for range s.r.IntN(4) { // never, once, twice, thrice
				at := end + time.Duration(s.r.IntN(300))*time.Millisecond
				said := r
				switch s.r.IntN(10) {
				case 0:
					at = end + time.Duration(s.r.IntN(120))*time.Second
				case 1:
					at = time.Duration(s.r.IntN(2000)) * time.Millisecond // a lie, as long as it lasts
					if s.r.IntN(2) == 0 {
						said.Ended = false
					}
				case 2:
					said.Conversation = "conv_" + fmt.Sprint(s.r.IntN(3))
				case 3:
					said.Intent = consumer.Key("l", "/crm", fmt.Sprintf("%04d", s.r.IntN(40)))
				case 4:
					said.Intent, said.Attempt = "", 0
				case 5:
					said.Attempt = s.r.IntN(4)
				}
				s.wg.Go(func() { s.send(over, said, at) })
			}
		}
	}
}

func (s *spreader) send(over <-chan struct{}, r consumer.Report, at time.Duration) {
	select {
	case <-over:
		return
	case <-time.After(at):
	}
	var p *process
	s.w.do(func() { p = s.w.newest })
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = p.engine.Hear(ctx, "l", []consumer.Report{r})
}
