package register_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact/register"
)

const claimAge = 5 * time.Second

// crowd is many events for one person, in two lanes of one purpose, worked on by
// processes that die at any step, stand still and lose answers. Each event is
// treated as the engine does: the ledger, the register, the claim, the request, the
// ledger.
type crowd struct {
	t        *testing.T
	w        *world
	limits   register.Limits
	mu       sync.Mutex
	reg      *register.Register // of the newest process
	requests []request
	told     map[string]string // why it is suppressed, by intent
	at       map[string]time.Time
}

// request is one conversation that the provider made.
type request struct {
	intent   string
	at       time.Time
	ended    time.Time
	answered bool
}

// open starts a process anew.
func (c *crowd) open() {
	for {
		reg, err := register.Open(c.t.Context(), c.w, register.Config{
			Ledger: c.w, Lanes: map[string]register.Limits{"one": c.limits, "two": c.limits}, ClaimAge: claimAge,
		})
		if err == nil {
			c.mu.Lock()
			c.reg = reg
			c.mu.Unlock()
			return
		}
		time.Sleep(time.Second)
	}
}

// dies reports that the process dies here, and starts the next one. Or it stands
// still.
func (c *crowd) dies() bool {
	if c.w.chance(25) {
		time.Sleep(c.w.upTo(20 * time.Second))
	}
	if !c.w.chance(20) {
		return false
	}
	c.open()
	return true
}

// deliver delivers an event until it is done.
func (c *crowd) deliver(lane, key string, redial bool) {
	for !c.work(lane, key, redial) {
		time.Sleep(time.Second + c.w.upTo(10*time.Second))
	}
}

// work takes an event as far as it goes, and reports whether it is acknowledged.
func (c *crowd) work(lane, key string, redial bool) bool {
	ctx := c.t.Context()
	began := time.Now()
	in, rev, err := c.w.Load(ctx, lane, key)
	if err != nil || c.dies() {
		return false
	}
	switch in.State {
	case consumer.Absent, consumer.Waiting:
	case consumer.Started: // its process has gone
		if time.Since(in.Claimed) < time.Minute {
			return false
		}
		next, _ := consumer.Next(in, consumer.Step{Kind: consumer.StepStale, Attempt: in.Claims}, time.Now())
		_, _ = c.w.Store(ctx, next, rev)
		return false
	default:
		return true
	}
	c.mu.Lock()
	reg := c.reg
	c.mu.Unlock()
	rulings, err := reg.Admit(ctx, []consumer.Approach{{Lane: lane, Intent: key, N: in.N, To: consumer.Recipient{Number: "+14155550101"}, Redial: redial}})
	if err != nil || c.dies() {
		return false
	}
	switch rulings[0].Verdict {
	case consumer.ContactLater:
		return false
	case consumer.ContactNever:
		c.mu.Lock()
		c.told[key], c.at[key] = rulings[0].Reason, time.Now()
		c.mu.Unlock()
		next, _ := consumer.Next(in, consumer.Step{Kind: consumer.StepSuppress, Reason: rulings[0].Reason}, time.Now())
		_, _ = c.w.Store(ctx, next, rev)
		return false
	}
	next, _ := consumer.Next(in, consumer.Step{Kind: consumer.StepClaim, Nonce: uuid.NewString()}, time.Now())
	if rev, err = c.w.Store(ctx, next, rev); err != nil || c.dies() {
		return false
	}
	step := consumer.Step{Kind: consumer.StepRelease, Attempt: next.Claims, Class: "full"}
	ended := time.Time{}
	switch n := c.w.upTo(10); {
	case time.Since(began) > claimAge:
	case c.w.faults && n < 2: // full
	case c.w.faults && n < 3:
		step.Kind = consumer.StepReject
	default:
		ended = c.post(key)
		step = consumer.Step{Kind: consumer.StepEvidence, Attempt: next.Claims, Conversation: key}
		if c.w.chance(10) { // the answer is lost
			step = consumer.Step{Kind: consumer.StepDoubt, Attempt: next.Claims}
		}
	}
	if c.dies() {
		return false
	}
	next, _ = consumer.Next(next, step, time.Now())
	if _, err = c.w.Store(ctx, next, rev); err != nil {
		return false
	}
	if next.State == consumer.Created {
		c.end(lane, key, ended)
	}
	return next.State != consumer.Waiting
}

// post makes the conversation, and returns when it ends.
func (c *crowd) post(key string) time.Time {
	r := request{intent: key, at: time.Now(), answered: c.w.upTo(4) > 0}
	r.ended = r.at.Add(c.w.upTo(10 * time.Minute))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	return r.ended
}

// end writes the end down when it is found.
func (c *crowd) end(lane, key string, ended time.Time) {
	time.Sleep(time.Until(ended) + c.w.upTo(time.Minute))
	result := "unanswered"
	c.mu.Lock()
	for _, r := range c.requests {
		if r.intent == key && r.answered {
			result = "completed"
		}
	}
	c.mu.Unlock()
	for {
		in, rev, err := c.w.Load(c.t.Context(), lane, key)
		if err == nil {
			next, effect := consumer.Next(in, consumer.Step{Kind: consumer.StepEnd, Conversation: key, Reason: result}, time.Now())
			if effect != consumer.Applied {
				return
			}
			if _, err = c.w.Store(c.t.Context(), next, rev); err == nil {
				return
			}
		}
		time.Sleep(time.Second)
	}
}

// judge holds the promises against what the provider has seen.
func (c *crowd) judge() {
	slices.SortFunc(c.requests, func(a, b request) int { return a.at.Compare(b.at) })
	seen := make(map[string]bool)
	for i, r := range c.requests {
		if seen[r.intent] {
			c.t.Errorf("intent %s was contacted twice", r.intent)
		}
		seen[r.intent] = true
		for _, before := range c.requests[:i] {
			if r.at.Sub(before.at) < c.limits.Once {
				c.t.Errorf("contacted %v after the last time, once in %v", r.at.Sub(before.at), c.limits.Once)
			}
			if before.answered && c.limits.CoolDown > 0 && r.at.Sub(before.ended) < c.limits.CoolDown {
				c.t.Errorf("contacted %v after the end of a conversation, cool-down %v", r.at.Sub(before.ended), c.limits.CoolDown)
			}
		}
		for _, most := range c.limits.Caps {
			within := 1
			for _, before := range c.requests[:i] {
				if r.at.Sub(before.at) < most.Per {
					within++
				}
			}
			if within > most.Count {
				c.t.Errorf("contacted %d times within %v, %d allowed", within, most.Per, most.Count)
			}
		}
	}
	c.justified()
}

// justified holds that nobody was suppressed without another contact that forbade
// it, be it one that nobody knows about.
func (c *crowd) justified() {
	back := max(c.limits.Once, c.limits.CoolDown+20*time.Minute)
	for _, most := range c.limits.Caps {
		back = max(back, most.Per)
	}
	for key, at := range c.at {
		found := false
		for _, in := range c.w.entries {
			reach, _ := in.Reach()
			found = found || in.Key != key && reach != consumer.ReachNone && in.Claimed.Before(at) && at.Sub(in.Claimed) < back+time.Minute
		}
		if !found {
			c.t.Errorf("suppressed although nobody was contacted before: %s", c.told[key])
		}
	}
}

// doubted reports whether nobody knows of some event whether it was sent.
func (c *crowd) doubted() bool {
	for _, in := range c.w.entries {
		if in.State == consumer.Doubt {
			return true
		}
	}
	return false
}

var seeds = flag.Uint64("seeds", 24, "worlds of a crowd")

// Whatever goes wrong, a person is contacted as often as the limits allow and no
// more, and every event comes to its end (H21).
func TestH21ACrowdForOnePerson(t *testing.T) {
	t.Parallel()
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 8))
				c := &crowd{t: t, w: newWorld(seed), told: make(map[string]string), at: make(map[string]time.Time)}
				c.limits = []register.Limits{
					{Purpose: "p", Once: 24 * time.Hour},
					{Purpose: "p", Caps: []register.Cap{{Count: 3, Per: 48 * time.Hour}, {Count: 1, Per: time.Hour}}},
					{Purpose: "p", CoolDown: 6 * time.Hour},
					{Purpose: "p", Once: 2 * time.Hour, Caps: []register.Cap{{Count: 2, Per: 24 * time.Hour}}, CoolDown: 12 * time.Hour},
				}[seed%4]
				c.open()
				c.w.mu.Lock()
				c.w.faults = seed%5 > 0
				c.w.mu.Unlock()
				var wg sync.WaitGroup
				for i := range 80 {
					if r.IntN(4) == 0 {
						time.Sleep(time.Duration(r.Int64N(int64(2 * time.Hour))))
					}
					lane := []string{"one", "two"}[i%2]
					wg.Go(func() { c.deliver(lane, consumer.Key(lane, "/crm", fmt.Sprint(i)), false) })
				}
				time.Sleep(time.Hour)
				c.w.mu.Lock()
				c.w.faults = false
				c.w.mu.Unlock()
				wg.Wait()
				c.judge()
				if len(c.requests) == 0 && !c.doubted() {
					t.Error("nobody was contacted")
				}
			})
		})
	}
}

// Where nothing goes wrong, a thousand events for one person at once make exactly
// the contacts that are allowed.
func TestAThousandEventsForOnePerson(t *testing.T) {
	t.Parallel()
	for most := 1; most <= 3; most++ {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &crowd{t: t, w: newWorld(1), told: make(map[string]string), at: make(map[string]time.Time)}
				c.limits = register.Limits{Purpose: "p", Caps: []register.Cap{{Count: most, Per: 48 * time.Hour}}}
				c.open()
				var wg sync.WaitGroup
				for i := range 1000 {
					wg.Go(func() { c.deliver("one", consumer.Key("one", "/crm", fmt.Sprint(i)), false) })
				}
				wg.Wait()
				c.judge()
				if len(c.requests) != most || len(c.at) != 1000-most {
					t.Errorf("got %d contacts and %d suppressed, want %d and %d", len(c.requests), len(c.at), most, 1000-most)
				}
			})
		})
	}
}
