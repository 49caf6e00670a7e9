package pacingtest

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// The ways in which Weir hears of a call's end.
const (
	PollAll    = "each call is asked for" // as the engine does without webhooks
	PollSample = "one call in 30 is asked for"
	PollNone   = "never"
)

// Options are what a client of the product's parts is like. Zero fields get the
// engine's values.
type Options struct {
	Limiter ratelimiter.Config
	Batch   int // most calls of one request; default 100
	Polls   string
	// Hooks says that a webhook tells of each end, so long after it, but for a
	// share that is lost; Confirm that the call is then asked for.
	Hooks   bool
	Delay   time.Duration
	Lost    float64
	Confirm bool
	// List says that the provider has a list of conversations, by which many are
	// asked for at once.
	List bool
	// Breaker is for worlds with an outage. It keeps its own time: they need a
	// sleep that moves the clock of the whole process.
	Breaker bool
}

// Weir returns a client that does as the engine's account and pool do, with the
// real limiter and breaker.
func Weir(o Options) Client { return &weir{o: o} }

// slot is a call that the client counts.
type slot struct {
	lead    int
	since   time.Duration
	poll    time.Duration // when to ask for it next
	asked   time.Duration // when it was last asked for, or made
	polling bool
	held    bool
	told    time.Duration // when a webhook said that it is over, and that is not confirmed
	doubt   bool          // whether there is a call is not known, and cannot be asked
}

type weir struct {
	o       Options
	w       *world
	l       *ratelimiter.Limiter
	breaker *ratelimiter.Breaker
	slots   map[int]*slot // by lead
	known   map[int]bool  // leads that were ever among them
	order   []*slot       // by age; those that are over are taken out now and then
	asked   []*slot       // of those, what is asked for
	flying  int
	window  int
	fails   int
	timer   time.Duration // when plan is called next; 0: no timer
	polling int
	nextGap time.Duration
	deaf    int // GETs in a row that failed
	probing bool
	seen    float64
	shown   float64
	lengths []time.Duration // of the newest calls that were seen to end
	heard   float64         // share of the ends that webhooks told of
	told    []*slot         // those whose end is to be confirmed, in the order of the webhooks
	listing bool
	births  []time.Duration // when calls were created
	ledger  ledger          // what outlives this process; nil: nothing does
	dead    bool
	drained func() // called once nothing is under way any more; not nil: nothing more is sent
}

// start is when the limiter's time begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	mostFlying = 8
	mostPolls  = 4
	maxCall    = time.Hour + 20*time.Second
)

func (c *weir) start(w *world) {
	c.w, c.window = w, 1
	c.slots, c.known = make(map[int]*slot), make(map[int]bool)
	if c.o.Batch == 0 {
		c.o.Batch = 100
	}
	rng := rand.New(rand.NewPCG(5, uint64(w.sc.Limit)))
	c.o.Limiter.Rand = rng.Float64
	c.o.Limiter.Looks = true
	c.l = ratelimiter.New(c.o.Limiter)
	if c.o.Breaker {
		c.breaker = ratelimiter.NewBreaker(ratelimiter.BreakerConfig{})
	}
	if c.o.Hooks {
		w.onEnd = func(lead int) {
			if rng.Float64() >= c.o.Lost {
				w.in(c.o.Delay, func() { c.hook(lead) })
			}
		}
	}
	c.adopt()
	w.in(time.Second, c.expire)
}

func (c *weir) arrived() { c.plan() }

// at is the limiter's time.
func (c *weir) at(d time.Duration) time.Time { return start.Add(d) }

// plan takes what is permitted, asks for what may have ended, or sets its timer.
func (c *weir) plan() {
	if c.dead {
		return
	}
	if c.drained != nil {
		if c.flying == 0 {
			c.dead = true
			c.drained()
		}
		return
	}
	for len(c.w.waiting) > 0 {
		n, next := c.permit()
		if n == 0 {
			c.wake(next)
			c.look()
			break
		}
		leads := c.w.take(min(n, c.o.Batch))
		if len(leads) == 0 {
			break
		}
		c.l.Take(len(leads))
		c.flying++
		c.ledger.claim(leads, c.w.now)
		c.send(leads)
	}
	c.pollEnds()
}

// wake has plan called at a time, if no earlier call is due.
func (c *weir) wake(next time.Time) {
	if next.IsZero() {
		return
	}
	d := max(next.Sub(start), c.w.now+time.Millisecond)
	if c.timer > c.w.now && c.timer <= d {
		return
	}
	c.timer = d
	c.w.in(d-c.w.now, func() {
		if c.timer == d {
			c.timer = 0
		}
		c.plan()
	})
}

// permit is the pool's.
func (c *weir) permit() (int, time.Time) {
	now := c.at(c.w.now)
	single := false
	if c.breaker != nil {
		switch c.breaker.State() {
		case "open":
			return 0, now.Add(50 * time.Millisecond)
		case "half-open":
			if c.breaker.Due() == ratelimiter.Probe && !c.probing {
				c.knock()
			}
			if c.breaker.Due() != ratelimiter.Trial || c.flying > 0 {
				return 0, now.Add(50 * time.Millisecond)
			}
			single = true
		}
	}
	if c.flying >= c.window {
		return 0, time.Time{}
	}
	n, next := c.l.Permit(now)
	if single {
		n = min(n, 1)
	}
	return n, next
}

// knock asks whether the provider is there.
func (c *weir) knock() {
	done, err := c.breaker.Begin(ratelimiter.Probe)
	if err != nil {
		return
	}
	c.probing = true
	c.w.get(0, true, func(a answer) {
		c.probing = false
		if a.failed {
			done(ratelimiter.Failure)
		} else {
			done(ratelimiter.Success)
		}
		c.plan()
	})
}

// send posts, and learns from the answer as the engine does.
func (c *weir) send(leads []int) {
	done := func(ratelimiter.Result) {}
	if c.breaker != nil {
		step := ratelimiter.Trial
		if len(leads) > 1 {
			step = ratelimiter.None
		}
		var err error
		if done, err = c.breaker.Begin(step); err != nil {
			c.l.Return(len(leads))
			c.flying--
			c.back(leads, time.Second)
			return
		}
	}
	c.w.post(leads, func(a answer) {
		if c.dead { // nobody hears it: what was not created is a doubt that no call ends
			c.w.missing -= len(leads) - a.created
			return
		}
		c.ledger.answered(leads, a.created)
		o := ratelimiter.Outcome{
			Began: c.at(a.began), Done: c.at(a.done), Sent: len(leads), Created: a.created, Full: a.full, Reading: c.reading(a),
		}
		result := ratelimiter.Neutral
		switch {
		case a.failed:
			c.fails++
			result = ratelimiter.Failure
		case a.created > 0:
			c.fails = 0
			result = ratelimiter.Success
		}
		done(result)
		c.l.Observe(o)
		for _, i := range leads[:a.created] {
			c.enter(i)
		}
		c.l.Return(len(leads) - a.created)
		if a.created > 0 {
			c.window = min(c.window+1, mostFlying)
		}
		c.flying--
		rest := leads[a.created:]
		if a.failed {
			c.back(rest, seconds(min(math.Pow(2, float64(c.fails-1)), 15)))
		} else {
			c.w.giveBack(rest)
		}
		c.plan()
	})
}

// back gives leads back after a pause.
func (c *weir) back(leads []int, pause time.Duration) {
	c.w.in(pause, func() { c.w.giveBack(leads); c.plan() })
}

// reading is what the headers say, under names whose unit is known.
func (c *weir) reading(a answer) ratelimiter.Reading {
	r := ratelimiter.Reading{Limit: a.limit, Remaining: a.remaining, RetryAfter: a.retryAfter}
	r.Concurrency = a.limit >= 0
	r.UnitKnown = r.Concurrency
	return r
}

// enter counts a call that was created.
func (c *weir) enter(lead int) {
	s := &slot{lead: lead, since: c.w.now, asked: c.w.now, held: true, poll: never}
	switch c.o.Polls {
	case PollAll:
		s.poll = c.w.now + c.firstPoll()
	case PollSample:
		if lead%30 == 0 {
			s.poll = c.w.now + 300*time.Second
		}
	}
	c.slots[lead], c.known[lead] = s, true
	c.order = append(c.order, s)
	c.births = append(c.births, c.w.now)
	if s.poll != never {
		c.asked = append(c.asked, s)
	}
}

// never is when what is not asked for is asked for.
const never = 1 << 60

func (c *weir) clamp(d time.Duration) time.Duration {
	return min(max(d, 50*time.Millisecond), 15*time.Second)
}

// patience is for how long a call of some age is not asked for (see the engine's).
func (c *weir) patience(age, wait, seen time.Duration) time.Duration {
	heard := min(c.heard, 31.0/32)
	seldom := 1 / (1 - heard*heard*heard)
	if c.l.Sees() {
		return min(time.Duration(float64(min(seen, 2*time.Minute))*seldom), 10*time.Minute)
	}
	var longer []time.Duration
	for _, length := range c.lengths {
		if length > age {
			longer = append(longer, length)
		}
	}
	if len(longer) >= 4 {
		slices.Sort(longer)
		wait = min(max(longer[len(longer)/7]-age, wait/4), 2*wait)
	}
	return min(time.Duration(float64(wait)*seldom), 2*c.mean())
}

func (c *weir) firstPoll() time.Duration {
	return c.patience(0, c.clamp(c.mean()/5), c.mean())
}

func (c *weir) nextPoll(s *slot) time.Duration {
	return c.patience(c.w.now-s.since, c.clamp(c.mean()/8), c.mean()/2)
}

// mean is the learned length of a call, as the engine learns it.
func (c *weir) mean() time.Duration {
	prior := c.o.Limiter.MeanCall
	if prior == 0 {
		prior = 75 * time.Second
	}
	return time.Duration((10*float64(prior) + c.seen*c.shown) / (10 + c.seen))
}

// pollEnds asks for the calls that are due.
func (c *weir) pollEnds() {
	for c.polling < mostPolls && (c.breaker == nil || c.breaker.State() == "closed") {
		c.asked = live(c.asked)
		if c.survey() {
			continue
		}
		s := first(c.asked, func(s *slot) time.Duration { return s.poll })
		if s == nil {
			return
		}
		if due := max(s.poll, c.nextGap); due > c.w.now {
			c.wake(c.at(due))
			return
		}
		c.nextGap = c.w.now + c.gap()
		c.ask(s, false)
	}
}

// gap is the shortest time between two GETs.
func (c *weir) gap() time.Duration {
	return min(max(c.mean()/time.Duration(8*c.w.sc.Limit), 5*time.Millisecond), time.Second)
}

// first is the call with the smallest value that is not being asked for; of those
// with the same the oldest.
func first(all []*slot, of func(*slot) time.Duration) (best *slot) {
	for _, s := range all {
		if s.held && !s.polling && !s.doubt && (best == nil || of(s) < of(best)) {
			best = s
		}
	}
	return best
}

// live leaves out what is over.
func live(all []*slot) []*slot {
	return slices.DeleteFunc(all, func(s *slot) bool { return !s.held })
}

// ask asks for one call.
func (c *weir) ask(s *slot, look bool) {
	c.polling++
	s.polling, s.asked = true, c.w.now
	c.w.get(s.lead, look, func(a answer) {
		if c.dead {
			return
		}
		c.polling--
		s.polling = false
		if !a.failed {
			c.l.Observe(ratelimiter.Outcome{Began: c.at(a.began), Done: c.at(a.done), Reading: c.reading(a)})
		}
		if a.failed {
			c.deaf++
			c.nextGap = c.w.now + min(c.clamp(c.mean()/8)<<min(c.deaf-1, 8), 15*time.Second)
		} else {
			c.deaf = 0
		}
		if s.poll != never && (!look || c.o.Polls == PollAll) {
			s.poll = c.w.now + c.nextPoll(s)
		}
		if a.ended {
			c.found(s, a.length)
		}
		c.plan()
	})
}

// found learns of a call that it is over, and how long it lasted.
func (c *weir) found(s *slot, length time.Duration) {
	c.seen = min(c.seen+1, 60)
	c.shown += (float64(length) - c.shown) / c.seen
	c.l.Learn(c.mean())
	c.lengths = append(c.lengths[max(0, len(c.lengths)-63):], length)
	c.heard -= c.heard / 16
	delete(c.ledger, s.lead)
	c.ended(s)
}

// ended frees a call's slot.
func (c *weir) ended(s *slot) {
	if c.slots[s.lead] == s {
		delete(c.slots, s.lead)
		s.held = false
		c.l.Freed(1)
	}
}

// hook hears of the end of a call.
func (c *weir) hook(lead int) {
	s := c.slots[lead]
	if c.dead || c.known[lead] && s == nil {
		return // it was found by asking
	}
	if s == nil {
		c.w.in(10*time.Millisecond, func() { c.hook(lead) }) // before its answer
		return
	}
	c.ended(s)
	c.heard += (1 - c.heard) / 16
	switch {
	case c.o.Confirm && c.o.List:
		s.told = c.w.now
		c.told = append(c.told, s)
	case c.o.Confirm:
		c.w.get(lead, false, func(answer) { delete(c.ledger, lead) })
	default:
		delete(c.ledger, lead)
	}
	c.plan()
}

// expire frees the slots whose calls cannot live any more.
func (c *weir) expire() {
	if c.dead {
		return
	}
	for _, s := range c.order {
		if c.slots[s.lead] == s && c.w.now-s.since > maxCall {
			c.ended(s)
		}
	}
	c.order = live(c.order)
	c.plan()
	c.w.in(time.Second, c.expire)
}

// look asks for a call because of the headers that come with it.
func (c *weir) look() {
	if c.polling >= mostPolls || c.breaker != nil && c.breaker.State() != "closed" {
		return
	}
	if c.nextGap > c.w.now {
		c.wake(c.at(c.nextGap))
		return
	}
	due, next := c.l.Look(c.at(c.w.now))
	if !due {
		c.wake(next)
		return
	}
	c.order = live(c.order)
	if s := first(c.order, func(s *slot) time.Duration { return s.asked }); s != nil {
		c.ask(s, true)
	}
}
