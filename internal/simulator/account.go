package simulator

import (
	"container/heap"
	"maps"
	"sync"
	"time"
)

// account is one workspace: its slots and every conversation ever made in it.
type account struct {
	provider string
	limit    int
	dealer   dealer
	proof    *proof

	mu      sync.Mutex // guards all below; taken by do alone
	calls   []*call    // in the order of making
	byID    map[string]*call
	live    endings // the calls that hold a slot
	highest int
	intents map[string]int // conversations of each intent
	doubled map[string]int // those with more than one
}

// call is a conversation with what only the provider knows of it.
type call struct {
	Conversation
	want     want
	timeline timeline
}

func newAccount(provider string, limit int, d dealer, p *proof) *account {
	return &account{
		provider: provider,
		limit:    limit,
		dealer:   d,
		proof:    p,
		byID:     map[string]*call{},
		intents:  map[string]int{},
		doubled:  map[string]int{},
	}
}

// do runs f as the only one to touch the account, with the slots freed and the
// ends logged of all calls that were over by now.
func (a *account) do(f func(now time.Time)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for len(a.live) > 0 && !a.live[0].Ends.After(now) {
		c := heap.Pop(&a.live).(*call)
		c.Ended = true
		a.proof.write(c.Ends, "ended", a.provider, c.Conversation)
	}
	f(now)
}

// free returns how many slots are free. Call it within do.
func (a *account) free() int {
	return a.limit - len(a.live)
}

// take makes a conversation in a free slot; the caller, within do, has made
// sure of one and calls record when it knows what the answer will show.
func (a *account) take(now time.Time, id string, w want) *call {
	t := a.dealer.timeline(uint64(len(a.calls)), now)
	c := &call{
		Conversation: Conversation{
			ID: id, Intent: w.intent(), Attempt: w.attempt(), Number: w.ToPhoneNumber, Agent: w.AgentID,
			Created: now, Ends: t.ended,
		},
		want:     w,
		timeline: t,
	}
	a.calls = append(a.calls, c)
	a.byID[id] = c
	heap.Push(&a.live, c)
	a.highest = max(a.highest, len(a.live))
	if c.Intent != "" {
		a.intents[c.Intent]++
		if n := a.intents[c.Intent]; n > 1 {
			a.doubled[c.Intent] = n
		}
	}
	return c
}

// record writes the proof of new conversations. Call it within do, before the
// answer's first byte.
func (a *account) record(made []*call) {
	for _, c := range made {
		a.proof.write(c.Created, "made", a.provider, c.Conversation)
	}
}

// report returns the account's part of a report. Call it within do.
func (a *account) report() Report {
	return Report{
		Conversations: len(a.calls),
		Live:          len(a.live),
		Highest:       a.highest,
		Limit:         a.limit,
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
