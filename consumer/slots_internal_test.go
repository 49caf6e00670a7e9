package consumer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A call whose slot a webhook freed, and which was found to be live by another way,
// holds one slot when the provider denies the webhook's word, too.
func TestACallThatIsHeldAgainCountsOnce(t *testing.T) {
	t.Parallel()
	a := shelved(t)
	a.cfg.MaxCall = time.Hour
	ln, key, now := &lane{a: a}, slotKey{"i", 1}, time.Now()
	s := a.occupy(ln, key, "telephone", now)
	s.conversation, s.early = "c", true
	s.free()
	a.occupy(ln, key, "telephone", now)
	s.denied(now)
	if got := s.pool.limiter.State().Held; got != 1 {
		t.Errorf("one call holds %d slots", got)
	}
	if a.drop(s); s.pool.limiter.State().Held != 0 {
		t.Error("a call that is over holds a slot")
	}
}

// The limiters count what the slots hold, whatever happens to them, and of those of
// which nothing more will be heard nothing is left.
func TestLimitersCountWhatSlotsHold(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := clerk{t: t, r: rand.New(rand.NewPCG(seed, 5)), a: shelved(t)}
				c.a.cfg.TakesID, c.a.cfg.MaxCall = seed%2 == 0, time.Minute
				c.ln = newLane(c.a, LaneConfig{})
				for range 400 {
					time.Sleep(time.Duration(c.r.Int64N(int64(500 * time.Millisecond))))
					c.act()
					c.check()
				}
				for _, s := range c.asked {
					c.answered(s, 0)
				}
				time.Sleep(2 * lateEnds)
				for range 2 { // what is held, and then what is not
					c.a.expire(time.Now())
					time.Sleep(2 * lateEnds)
				}
				c.check()
				if left := len(c.a.slots) + len(c.a.watched.ends.turns) + len(c.a.others.ends.turns); left > 0 {
					t.Errorf("%d slots are left", left)
				}
			})
		})
	}
}

// clerk lets things happen to the slots of an account by chance, by the ways in which
// they happen.
type clerk struct {
	t     *testing.T
	r     *rand.Rand
	a     *account
	ln    *lane
	asked []*slot // GETs under way
}

func (c *clerk) act() {
	now := time.Now()
	in := Intent{
		Key: fmt.Sprint(c.r.IntN(30)), Channel: []string{"telephone", "text"}[c.r.IntN(2)],
		State: []State{Created, Doubt, Started}[c.r.IntN(3)], Claims: 1 + c.r.IntN(3), Claimed: now.Add(-time.Duration(c.r.IntN(20)) * time.Second),
	}
	in.Made, in.Conversation = 1+c.r.IntN(in.Claims), "c"+in.Key
	switch c.r.IntN(8) {
	case 0:
		p := c.a.pool(in.Channel)
		p.limiter.Take(1)
		c.a.book(c.ln, p, &candidate{intent: in}, []Verdict{VerdictCreated, VerdictDoubt, VerdictFull}[c.r.IntN(3)])
	case 1:
		c.a.follow(c.ln, in, true)
	case 2:
		c.a.adopt(c.ln, in, now, 0)
	case 3:
		c.a.hold(c.ln, c.a.keyOf(in, in.Claims), in, Conversation{ID: in.Conversation, Attempt: in.Claims})
	case 4:
		c.a.over(c.a.keyOf(in, in.Claims), Conversation{})
	case 5:
		c.a.expire(now)
	case 6:
		if i := len(c.asked) - 1; i >= 0 {
			c.answered(c.asked[i], c.r.IntN(3))
			c.asked = c.asked[:i]
		}
	default:
		c.hear(now)
	}
}

// hear lets a webhook tell of a slot's end, or a GET begin.
func (c *clerk) hear(now time.Time) {
	all := slices.SortedFunc(maps.Values(c.a.slots), func(x, y *slot) int {
		return strings.Compare(fmt.Sprint(x.key), fmt.Sprint(y.key))
	})
	if len(all) == 0 {
		return
	}
	s := all[c.r.IntN(len(all))]
	if c.r.IntN(2) == 0 {
		c.a.ring(c.ln, Report{Intent: s.key.intent, Attempt: s.key.attempt, Conversation: s.conversation, Ended: true}, now)
	} else if s.conversation != "" && !s.polling {
		s.polling = true
		s.sort()
		c.asked = append(c.asked, s)
	}
}

// answered ends a GET: of nothing, of a call that lives, or of one that is over.
func (c *clerk) answered(s *slot, what int) {
	now := time.Now()
	s.polling = false
	switch {
	case what == 0 || s.doubt:
		s.next(now)
	default:
		s.learned(Conversation{Ended: what == 2}, now.Add(-time.Millisecond), now)
	}
}

func (c *clerk) check() {
	c.t.Helper()
	if err := c.a.sorted(); err != nil {
		c.t.Fatal(err)
	}
	held := make(map[*pool]int)
	for _, s := range c.a.watched.ends.slots() { // whatever is held is watched
		if s.held {
			held[s.pool]++
		}
	}
	for _, p := range c.a.pools {
		if got := p.limiter.State().Held; p.counted && got != held[p] {
			c.t.Fatalf("the limiter counts %d, %d slots are held", got, held[p])
		}
	}
}
