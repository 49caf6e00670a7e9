package pacingtest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Fleet is replicas of Weir that stand by for one account: one of them owns it,
// and it alone asks for conversations.
type Fleet struct {
	Replicas int
	// Every so often one of them, by chance, is killed, or asked to stop if
	// Gently; 0: never. It is back after 10 s.
	Every  time.Duration
	Gently bool
}

// The protocol of ownership: an owner renews its lease each fifth of its time to
// live, and is replaced within a second after that has passed.
const (
	leaseLife = 5 * time.Second
	restart   = 10 * time.Second
)

// Replicas returns a client that is a fleet, each of them as Weir(o).
func Replicas(f Fleet, o Options) Client {
	return &fleet{Fleet: f, o: o, ledger: make(ledger)}
}

type fleet struct {
	Fleet
	o      Options
	w      *world
	rng    *rand.Rand
	ledger ledger
	place  int   // of the owner among the replicas
	owner  *weir // nil while there is none
}

func (f *fleet) start(w *world) {
	f.w = w
	f.rng = rand.New(rand.NewPCG(7, w.seed))
	f.take()
	if f.Every > 0 {
		w.in(f.Every, f.strike)
	}
}

func (f *fleet) arrived() {
	if f.owner != nil {
		f.owner.arrived()
	}
}

// take makes the owner of what is in the ledger, and has it begin. It knows
// nothing of what the one before it had learned.
func (f *fleet) take() {
	f.owner = &weir{o: f.o, ledger: f.ledger}
	f.owner.start(f.w)
	f.owner.plan()
}

// strike ends one of the replicas, and so on. One that stands by is not missed.
func (f *fleet) strike() {
	f.w.in(f.Every, f.strike)
	if f.rng.IntN(f.Replicas) != f.place || f.owner == nil {
		return
	}
	old := f.owner
	if f.Replicas > 1 {
		f.place = (f.place + 1 + f.rng.IntN(f.Replicas-1)) % f.Replicas
	}
	if f.Gently {
		old.drained = func() {
			f.owner = nil
			f.w.in(f.pause(0), f.take)
		}
		old.plan()
		return
	}
	f.owner = nil
	old.dead = true
	f.w.cut(f.rng)
	expiry := leaseLife - time.Duration(f.rng.Float64()*float64(leaseLife/5)) // it was renewed a while ago
	f.w.in(f.pause(expiry+time.Duration(f.rng.Float64()*float64(time.Second))), f.take)
}

// pause is how long nobody owns the account whose lease ends after that time.
func (f *fleet) pause(lease time.Duration) time.Duration {
	if f.Replicas == 1 {
		return max(lease, restart)
	}
	return lease
}

// ledger is what is known of calls whose end is not, by lead.
type ledger map[int]entry

type entry struct {
	claimed time.Duration
	created bool // else nobody knows
}

func (l ledger) claim(leads []int, now time.Duration) {
	if l == nil {
		return
	}
	for _, i := range leads {
		l[i] = entry{claimed: now}
	}
}

func (l ledger) answered(leads []int, created int) {
	if l == nil {
		return
	}
	for n, i := range leads {
		if n < created {
			l[i] = entry{l[i].claimed, true}
		} else {
			delete(l, i)
		}
	}
}

// adopt counts what the ledger says may be live, as an engine does at its start:
// what was created is asked for at once, and a claim without an answer holds its
// slot until no call of it can live.
func (c *weir) adopt() {
	for _, lead := range slices.Sorted(maps.Keys(c.ledger)) {
		e := c.ledger[lead]
		if c.w.now-e.claimed > maxCall {
			continue
		}
		s := &slot{lead: lead, since: e.claimed, asked: e.claimed, held: true, poll: c.w.now, doubt: !e.created}
		c.l.Occupy(1)
		c.slots[lead], c.known[lead] = s, true
		c.order = append(c.order, s)
		c.asked = append(c.asked, s)
	}
}
