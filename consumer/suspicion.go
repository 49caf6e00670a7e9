package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weirhq/weir/schema"
)

// A route that is wrong refuses every event, and so does a schema: a backlog of
// 100,000 would be dead letters in minutes, without one request (H23). So a
// hundred equal refusals with no event between them that a route could make a
// request of pause the lane, and the last of them is not judged. They are ten times
// as many as rejections by the provider: nothing was sent, one command sends them
// again, and ten leads without a number are a bad list rather than a bad route. Equal are those of one class,
// field and event type; their words may name what only this event has.
//
// What counts is what the operator has in hand: no route, a request that cannot
// be made, data that its schema refuses, a fault in Weir. An event that cannot be
// read, is too large or too old, or has an id that was taken, is its publisher's
// fault alone and never stops a lane.
//
// A person who lets the lane go on has looked at these events: of that kind it
// then takes ten times as many, and so on, so that a publisher with many bad ones
// does not stop it for ever, and a lane that was let go on by mistake stops again.
type suspicion struct {
	mu      sync.Mutex
	counts  map[cause]int // since a request could last be made
	limits  map[cause]int // where a person has raised them
	top     cause         // of the counts the highest
	words   string        // of its newest refusal
	accused cause         // what paused the lane; zero: something else, or nothing
}

// cause is what equal refusals have in common.
type cause struct{ class, field, kind string }

// refusalsInARow that are equal pause a lane.
const refusalsInARow = 100

// mostCauses bounds the causes that are told apart: types and fields are the
// publishers' to choose.
const mostCauses = 1000

func newSuspicion() suspicion {
	return suspicion{counts: make(map[cause]int), limits: make(map[cause]int)}
}

// clear notes that a request could be made.
func (s *suspicion) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
}

// forget begins to count anew. The caller holds mu.
func (s *suspicion) forget() {
	clear(s.counts)
	s.top, s.words = cause{}, ""
}

// most returns how many equal refusals there were at most since a request could
// last be made, and what the newest of them said.
func (s *suspicion) most() (n int, words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[s.top], s.words
}

// lift notes that a person lets the lane go on.
func (s *suspicion) lift() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if s.accused != (cause{}) && len(s.limits) < mostCauses {
		s.limits[s.accused] = 10 * s.limit(s.accused)
	}
	s.accused = cause{}
}

// limit is how many refusals of a cause pause the lane. The caller holds mu.
func (s *suspicion) limit(c cause) int {
	if n, ok := s.limits[c]; ok {
		return n
	}
	return refusalsInARow
}

// add counts a refusal and reports whether it is one too many.
func (s *suspicion) add(c cause, words string) (limit int, tooMany bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.counts[c]; !known && len(s.counts) >= mostCauses {
		return 0, false
	}
	s.counts[c]++
	if s.counts[c] >= s.counts[s.top] {
		s.top, s.words = c, words
	}
	limit = s.limit(c)
	if s.counts[c] < limit {
		return limit, false
	}
	s.accused = c
	return limit, true
}

// suspect counts a refusal, and reports whether the event is not to be judged
// because the refusals have paused the lane.
func (ln *lane) suspect(ctx context.Context, eventType string, refusal error) bool {
	r, ok := errors.AsType[*schema.Refusal](refusal)
	if !ok {
		return false
	}
	switch r.Class {
	case schema.ClassNoRoute, schema.ClassRequest, schema.ClassData, classInternal:
	default:
		return false
	}
	limit, tooMany := ln.suspicion.add(cause{string(r.Class), r.Field, eventType}, r.Reason)
	if tooMany {
		ln.stop(ctx, fmt.Sprintf("%d events were refused for the same reason, with none between them that could be sent, so the route or the schema may be wrong: %s "+
			"If it is, mend it and start weir serve again; if these events are, let the lane go on.", limit, r.Reason))
	}
	return tooMany
}
