package simulator

import (
	"container/heap"
	"maps"
	"sync"
	"time"
)

// account is one customer of a provider: its slots and every conversation ever
// made in it.
type account struct {
	provider string
	limit    int // as the customer knows it
	dealer   dealer
	proof    *proof

	mu      sync.Mutex // guards all below; taken by do alone
	calls   []*call    // in the order of making
	byID    map[string]*call
	running endings        // those that have begun and not ended
	slots   slots          // of calls
	texts   slots          // of text sessions, where a provider counts them apart
	queue   []*call        // those that wait for a slot, the first to come first
	waited  int            // the most that ever waited
	intents map[string]int // conversations of each intent
	doubled map[string]int // those with more than one
}

// slots is how many conversations of a kind may run at once, and how many do.
type slots struct {
	capacity int
	taken    int
	highest  int // most that were ever taken
}

// free returns how many slots are free.
func (s *slots) free() int {
	return s.capacity - s.taken
}

func (s *slots) take() {
	s.taken++
	s.highest = max(s.highest, s.taken)
}

// call is a conversation with what only the provider knows of it.
type call struct {
	Conversation
	request  request
	nth      uint64    // in the order of making, from 0
	holds    *slots    // one of which it needs; nil: none
	visible  time.Time // from when on its provider knows of it
	timeline timeline  // zero while it waits for a slot
}

// request is what a conversation was made for, in its provider's words.
type request interface {
	// conversation returns what the request says about its conversation.
	conversation() Conversation
	// course returns how the n-th conversation goes that begins now.
	course(d dealer, n uint64, now time.Time) timeline
}

func newAccount(provider string, limit int, d dealer, p *proof) *account {
	return &account{
		provider: provider,
		limit:    limit,
		dealer:   d,
		proof:    p,
		slots:    slots{capacity: limit},
		byID:     map[string]*call{},
		intents:  map[string]int{},
		doubled:  map[string]int{},
	}
}

// do runs f as the only one to touch the account, with everything done and
// logged that has happened by now: one end after the other frees its slot, and
// the first that waits for one begins at that very moment.
func (a *account) do(f func(now time.Time)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for len(a.running) > 0 && !a.running[0].Ends.After(now) {
		a.end(heap.Pop(&a.running).(*call))
	}
	f(now)
}

// end marks a conversation as over and lets those that wait for its slot begin.
func (a *account) end(c *call) {
	c.Ended = true
	a.proof.write(c.Ends, "ended", c.Conversation)
	if c.holds != nil {
		c.holds.taken--
		a.advance(c.Ends)
	}
}

// advance begins the conversations that wait, in the order of their coming, as
// long as there are slots.
func (a *account) advance(now time.Time) {
	for len(a.queue) > 0 && a.slots.free() > 0 {
		c := a.queue[0]
		a.queue[0] = nil
		a.queue = a.queue[1:]
		a.begin(c, now)
	}
}

// begin puts a conversation into its slot and on its way.
func (a *account) begin(c *call, now time.Time) {
	if c.holds != nil {
		c.holds.take()
	}
	c.timeline = c.request.course(a.dealer, c.nth, now)
	c.Started, c.Ends = now, c.timeline.ended
	heap.Push(&a.running, c)
}

// add makes a conversation that needs one of the slots, or none if they are
// nil. One that finds no slot of calls waits for its turn. The caller, within
// do, has made sure of a slot of any other kind, and calls record when it knows
// what the answer will show.
func (a *account) add(now time.Time, id string, r request, holds *slots) *call {
	c := &call{Conversation: r.conversation(), request: r, nth: uint64(len(a.calls)), holds: holds, visible: now}
	c.ID, c.Provider, c.Created = id, a.provider, now
	a.calls = append(a.calls, c)
	a.byID[id] = c
	if holds == &a.slots {
		a.queue = append(a.queue, c)
		a.advance(now)
		a.waited = max(a.waited, len(a.queue))
	} else {
		a.begin(c, now)
	}
	a.count(c.Intent)
	return c
}

// count notes a conversation of an intent.
func (a *account) count(intent string) {
	if intent == "" {
		return
	}
	a.intents[intent]++
	if n := a.intents[intent]; n > 1 {
		a.doubled[intent] = n
	}
}

// record writes the proof of new conversations. Call it within do, before the
// answer's first byte.
func (a *account) record(made []*call) {
	for _, c := range made {
		a.proof.write(c.Created, "made", c.Conversation)
	}
}

// refuse writes the proof of conversations that were asked for by a request which
// a fault struck, and not made. Call it within do, before the answer's first byte.
func (a *account) refuse(now time.Time, asked []Conversation, fault string) {
	for _, c := range asked {
		c.Provider, c.Fault = a.provider, fault
		a.proof.write(now, "refused", c)
	}
}

// report returns the account's part of a report. Call it within do.
func (a *account) report() Report {
	return Report{
		Conversations: len(a.calls),
		Live:          a.slots.taken,
		Highest:       a.slots.highest,
		Limit:         a.limit,
		Queued:        len(a.queue),
		QueuedMost:    a.waited,
		TextHighest:   a.texts.highest,
		Doubled:       maps.Clone(a.doubled),
	}
}

// endings is a heap of calls, the next to end first.
type endings []*call

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].Ends.Before(e[j].Ends) }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(*call)) }

func (e *endings) Pop() any {
	last := len(*e) - 1
	c := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return c
}
