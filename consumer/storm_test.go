package consumer_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
)

// TestStorm runs many small worlds in which everything goes wrong by chance (see
// chance, and the acts of a storm). Whatever happens: no promise is broken at any
// step (see books), and in the calm that follows every event comes to its end and
// every slot is free again.
//
// A failing seed prints its history. In "go test", the order of goroutines is not
// part of the seed; in "make storm" it is, and a seed replays exactly.
func TestStorm(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) { s.play(s.batches) })
}

func (s *storm) batches(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = 1 + s.w.limit/2 }

// TestStormOfChannels is TestStorm for a lane whose events go to three channels,
// of which one has a limit.
func TestStormOfChannels(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) {
		s.w.books.most += 2000 // of its rooms
		s.play(func(c *consumer.Config) { channels(s.t, s.w)(c) })
	})
}

// TestStormWithIDs is TestStorm for a provider that takes our id, and may have a
// list: in the calm that follows, nothing is left in doubt.
func TestStormWithIDs(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) {
		edit := ids(s.w)
		s.w.hidden = func(consumer.Item) time.Duration {
			if !s.w.strikes(unseen) {
				return 0
			}
			return s.w.chance.upTo(28 * time.Second)
		}
		lists := s.r.IntN(2) == 0
		s.play(func(c *consumer.Config) {
			edit(c)
			c.Accounts[0].Lanes[0].Attempts = 100 // the storm is long
			if p := c.Accounts[0].Provider; lists {
				c.Accounts[0].Provider = lister{p.(*process)}
				if s.seed%2 == 0 {
					c.Accounts[0].Provider = telling{p.(*process)}
				}
			}
		})
	})
}

// seeds is how many worlds each storm has, from is the first: more of them, and
// each one exactly again, by tools/storm.
var (
	seeds = flag.Uint64("seeds", 10, "worlds of each storm")
	from  = flag.Uint64("from", 0, "the first world of each storm")
	story = flag.Bool("history", false, "print the history of each world")
)

// eachSeed plays a world for each seed.
func eachSeed(t *testing.T, play func(s *storm)) {
	t.Helper()
	for seed := *from; seed < *from+*seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, seed)
				play(s)
				s.tell()
				switch history := strings.Join(s.w.history, "\n"); {
				case t.Failed():
					t.Logf("history:\n%s", history)
				case *story: // at the end: to print it earlier would make it another one
					fmt.Println(history)
				}
			})
		})
	}
}

// storm is the story of one world: what is published, what is done to processes,
// broker and provider, and what persons do. Its goroutine alone has all but w.
type storm struct {
	t     *testing.T
	w     *world
	seed  uint64
	r     *rand.Rand // the story's; chance has its own
	edit  func(*consumer.Config)
	leads []*lead
	procs []*process // those that may still run; the last one is the newest
	owed  []*lead    // that were to be withdrawn before they are published
	brief bool       // its events may be sent for a while only
	wg    sync.WaitGroup
}

func newStorm(t *testing.T, seed uint64) *storm {
	w, r := newWorld(), rand.New(rand.NewPCG(seed, 1))
	w.keepsHistory, w.began = true, time.Now()
	w.limit = 1 + r.IntN(6)
	w.chance = &chance{
		rand: rand.New(rand.NewPCG(seed, 2)), met: make(map[fault]int), bottomless: r.IntN(2) == 0, granted: w.limit,
	}
	w.books = newBooks(w)
	w.answer = (*world).moody
	return &storm{t: t, w: w, seed: seed, r: r}
}

// play plays the world to its end. change makes the configuration its own.
func (s *storm) play(change func(*consumer.Config)) {
	batch := 0
	breaker := ratelimiter.BreakerConfig{Failures: 2 + s.r.IntN(3), Open: 5 * time.Second}
	s.edit = func(c *consumer.Config) {
		c.PullWait = time.Minute
		c.Accounts[0].Breaker = breaker
		change(c)
		batch = c.Accounts[0].Lanes[0].Batch
	}
	s.launch()
	s.w.do(func() { s.w.books.most += s.w.limit + 8*max(batch, 5) + 3 })
	for i := range 8 + s.r.IntN(16) {
		if s.publish(i); s.r.IntN(2) == 0 {
			continue // they come in crowds
		}
		s.sleep(20 * time.Second)
		if s.r.IntN(3) > 0 {
			s.act()
		}
		s.tend()
	}
	s.sleep(5 * time.Minute)
	s.tend()
	s.publishOwed()
	s.calm()
	s.w.books.close(s.leads)
	s.w.do(func() {
		if len(s.w.books.broken) > 0 {
			s.t.Errorf("%d promises broken:\n%s", len(s.w.books.broken), s.w.books.findings())
		}
	})
}

func (s *storm) sleep(most time.Duration) { time.Sleep(time.Duration(s.r.Int64N(int64(most)))) }

// calm ends all faults, and gives the world three hours to come to its end: a
// postponed event that was lost is looked for every hour.
func (s *storm) calm() {
	var awake time.Time // all processes
	s.w.do(func() {
		c := s.w.chance
		s.w.note("-- calm")
		c.calm, c.stalled, c.granted = true, earliest(c.stalled, time.Now()), s.w.limit
		for _, p := range s.procs {
			p.dieAt = 0
			awake = later(awake, p.stands)
		}
	})
	time.Sleep(time.Until(awake))
	used := -1
	for range 180 {
		s.resume()
		s.tend()
		time.Sleep(time.Minute)
		if p := s.owner(); p != nil && s.w.over() {
			if used = status(s.t, p).Used; used == 0 {
				break
			}
		}
	}
	if used != 0 {
		s.t.Errorf("slots in use in the end: %d", used)
	}
	for _, p := range s.procs {
		s.end(p)
	}
	s.wg.Wait()
	s.w.chance.late.Wait()
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// tell prints what happened in the world, for tools/storm.
func (s *storm) tell() {
	met := make(map[fault]int)
	for _, f := range storyFaults {
		met[f] = 0
	}
	for f := range odds {
		met[f] = 0
	}
	maps.Copy(met, s.w.chance.met)
	b, err := json.Marshal(map[string]any{"acts": s.w.acts, "faults": met})
	if err != nil {
		panic(err)
	}
	fmt.Printf("#storm %s\n", b)
}

// over reports whether nothing is left to come.
func (w *world) over() bool {
	left := w.unacked()
	w.do(func() {
		for _, s := range w.entries {
			if in := s.intent; !in.Settled() || in.State == consumer.Cancelled && !w.books.heard[in.Key+" cancelled"] {
				left++
			}
		}
	})
	return left == 0
}
