package pacingtest

import (
	"math/rand/v2"
	"time"
)

// Oracle knows each end at once, as the provider does, and posts then.
func Oracle() Client { return &oracle{} }

type oracle struct {
	w    *world
	sent int // slots that requests under way will fill
}

func (o *oracle) start(w *world) {
	o.w = w
	w.onEnd = func(int) { o.arrived() }
	w.handled = func(n int) { o.sent -= n }
	for _, ch := range w.sc.Changes {
		w.in(ch.At, o.arrived)
	}
	w.in(w.sc.OutageTo, o.arrived)
}

func (o *oracle) arrived() {
	w := o.w
	leads := w.take(w.limit - w.ours - w.others - o.sent)
	if len(leads) == 0 || w.down() {
		w.giveBack(leads)
		return
	}
	o.sent += len(leads)
	w.post(leads, func(a answer) {
		if a.failed {
			o.sent -= len(leads)
		}
		w.giveBack(leads[a.created:])
		if a.created < len(leads) {
			w.in(50*time.Millisecond, o.arrived)
			return
		}
		o.arrived()
	})
}

// Naive sends each lead by itself, at most pending of them at once, and one that
// was refused again after a pause.
func Naive(pending int, exponential bool) Client {
	return &naive{pending: pending, exponential: exponential}
}

type naive struct {
	w           *world
	pending     int
	exponential bool
	held        int
	rng         *rand.Rand
}

func (p *naive) start(w *world) {
	p.w, p.rng = w, rand.New(rand.NewPCG(3, uint64(p.pending)))
}

func (p *naive) arrived() {
	for p.held < p.pending && len(p.w.waiting) > 0 {
		p.held++
		p.send(p.w.take(1), 0)
	}
}

func (p *naive) send(leads []int, tries int) {
	p.w.post(leads, func(a answer) {
		if a.created == 1 {
			p.held--
			p.arrived()
			return
		}
		pause := seconds(5 * (0.95 + 0.1*p.rng.Float64()))
		if p.exponential {
			pause = seconds(p.rng.Float64() * min(60, float64(int(1)<<min(tries, 10))))
		}
		p.w.in(pause, func() { p.send(leads, tries+1) })
	})
}

// Worker sends one lead after the other, and pauses after a refusal.
func Worker(pause time.Duration) Client { return &worker{pause: pause} }

type worker struct {
	w     *world
	pause time.Duration
	busy  bool
}

func (p *worker) start(w *world) { p.w = w }

func (p *worker) arrived() {
	if p.busy || len(p.w.waiting) == 0 {
		return
	}
	p.busy = true
	leads := p.w.take(1)
	p.w.post(leads, func(a answer) {
		wait := time.Duration(0)
		if a.created == 0 {
			p.w.giveBack(leads)
			wait = p.pause
		}
		p.w.in(wait, func() { p.busy = false; p.arrived() })
	})
}

// Bursts is what the provider's documents advise: a burst, a pause, and the next
// burst as large as the last headers said. With follow it posts again at once
// while slots remain.
func Bursts(pause time.Duration, follow bool) Client {
	return &bursts{pause: pause, follow: follow, size: 20}
}

type bursts struct {
	w      *world
	pause  time.Duration
	follow bool
	size   int
	busy   bool
}

func (p *bursts) start(w *world) { p.w = w }

func (p *bursts) arrived() {
	if p.busy || len(p.w.waiting) == 0 {
		return
	}
	p.busy = true
	leads := p.w.take(p.size)
	p.w.post(leads, func(a answer) {
		p.w.giveBack(leads[a.created:])
		switch {
		case a.remaining >= 0:
			p.size = max(1, a.remaining)
		case a.created == len(leads):
			p.size = len(leads) + 1
		default:
			p.size = max(1, len(leads)/2)
		}
		wait := p.pause
		if p.follow && a.remaining > 0 {
			wait = 0
		}
		p.w.in(wait, func() { p.busy = false; p.arrived() })
	})
}

// FixedRate sends one lead for each token of a bucket that fills at factor times
// the true rate of ends, and holds at most 20.
func FixedRate(factor float64) Client { return &fixedRate{factor: factor} }

type fixedRate struct {
	w      *world
	factor float64
	tokens float64
	filled time.Duration
	timer  bool
}

func (p *fixedRate) start(w *world) { p.w, p.tokens = w, 20 }

func (p *fixedRate) arrived() {
	rate := p.factor * float64(p.w.sc.Limit) / MeanCall.Seconds()
	p.tokens = min(20, p.tokens+rate*(p.w.now-p.filled).Seconds())
	p.filled = p.w.now
	for p.tokens >= 1 && len(p.w.waiting) > 0 {
		p.tokens--
		leads := p.w.take(1)
		p.w.post(leads, func(a answer) {
			p.w.giveBack(leads[a.created:])
			p.arrived()
		})
	}
	if len(p.w.waiting) > 0 && !p.timer {
		p.timer = true
		p.w.in(seconds((1-p.tokens)/rate)+time.Millisecond, func() { p.timer = false; p.arrived() })
	}
}

// Additive keeps a count of calls that it believes may live (AIMD: one more while
// the count is used and nothing is refused, a tenth less after a refusal), and asks
// for each of its calls every 10 s.
func Additive() Client { return &additive{limit: 20} }

type additive struct {
	w      *world
	limit  float64
	flying int
	cut    time.Duration
}

func (p *additive) start(w *world) { p.w = w }

func (p *additive) arrived() {
	for p.flying < int(p.limit) && len(p.w.waiting) > 0 {
		p.flying++
		leads := p.w.take(1)
		p.w.post(leads, func(a answer) {
			if a.created == 1 {
				if float64(p.flying)*2 >= p.limit {
					p.limit = min(p.limit+1, 200)
				}
				p.ask(leads[0])
			} else {
				p.flying--
				p.w.giveBack(leads)
				p.limit = max(1, p.limit*0.9)
			}
			p.again(a)
		})
	}
}

// again goes on, a moment later after a refusal.
func (p *additive) again(a answer) {
	if a.created == 1 {
		p.arrived()
		return
	}
	if p.cut <= p.w.now {
		p.cut = p.w.now + time.Second
		p.w.in(time.Second, p.arrived)
	}
}

// ask asks for a call until it is over.
func (p *additive) ask(lead int) {
	p.w.in(10*time.Second, func() {
		p.w.get(lead, false, func(a answer) {
			if !a.ended {
				p.ask(lead)
				return
			}
			p.flying--
			p.arrived()
		})
	})
}
