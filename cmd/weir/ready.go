package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// reason is something that hinders this process, or one of the lanes that it runs.
// It names nobody.
type reason struct {
	Lane  string `json:"lane,omitzero"`  // empty: it is about the whole process
	State string `json:"state,omitzero"` // of the lane
	Text  string `json:"reason"`
	// Unready is what a balancer needs to know: events are to be brought to another
	// process, because this one cannot store them. A lane that cannot call, or a
	// ledger without room, is no such reason: every replica would give it at once,
	// and events that could be kept would be refused.
	Unready bool `json:"unready,omitzero"`
}

// String says it to a person.
func (r reason) String() string {
	if r.Lane == "" {
		return r.Text
	}
	return fmt.Sprintf("lane %s is %s: %s", r.Lane, r.State, r.Text)
}

// reasons are what hinders this process and its lanes, now. It asks nobody.
func (s *service) reasons(ctx context.Context) []reason {
	var all []reason
	add := func(err error, unready bool) {
		if err != nil {
			all = append(all, reason{Text: schema.Mask(err.Error()), Unready: unready})
		}
	}
	if s.stopping.Load() {
		add(errors.New("weir serve is stopping"), true)
	} else {
		add(s.replica.Held(), true)
	}
	if why := s.doorstep.Load(); why != nil {
		add(*why, true)
	}
	add(s.room.lacking(), false)
	add(s.clock.Trusted(), false)
	said := make(map[string]bool) // of the process: not again for each of its lanes
	for _, r := range all {
		said[r.Text] = true
	}
	for _, lane := range s.lanes() {
		if r, hindered := s.laneReason(ctx, lane); hindered && !said[r.Text] {
			all = append(all, r)
		}
	}
	return all
}

// laneReason says why a lane does not call, if this process knows.
func (s *service) laneReason(ctx context.Context, lane string) (reason, bool) {
	st := s.status(ctx, lane)
	if why := s.holds(lane); why != "" && st.State == "" { // nobody runs it here
		st.State, st.Why = "held", why+" ("+whatNext+")"
	}
	if st.State == "" || st.State == "running" && st.Why == "" {
		return reason{}, false
	}
	return reason{Lane: lane, State: st.State, Text: schema.Mask(nameless(st))}, true
}

// nameless is why a lane does what it does, without who decided it and in which
// words.
func nameless(st consumer.LaneStatus) string {
	switch {
	case st.State == "paused" && st.Pause != nil && st.Pause.By != "weir":
		return "a person paused it; weir lanes says who, and why"
	case st.State == "waiting" && st.Why == "":
		return "it waits"
	default:
		return st.Why
	}
}

// hindered joins what an operator must hear of this process: nil while it may send,
// on every lane, has room for new events and can rely on the time of day.
func (s *service) hindered() error {
	return errors.Join(s.replica.Held(), s.room.lacking(), s.clock.Trusted(), s.heldError())
}

// How often the stream of events is looked at, and how many looks in a row may fail
// before no events should be brought here: an election of a leader is shorter.
const (
	eventsPoll  = 5 * time.Second
	eventsLooks = 3
)

// watchEvents looks whether the broker stores events, until ctx ends.
func (s *service) watchEvents(ctx context.Context) error {
	for failed := 0; ; {
		_, err := s.broker.Fill(ctx, broker.StreamEvents)
		if err == nil {
			failed = 0
			s.doorstep.Store(nil)
		} else if failed++; failed >= eventsLooks && ctx.Err() == nil {
			err = fmt.Errorf("the broker does not store events: %w", err)
			s.doorstep.Store(&err)
		}
		if sleep(ctx, s.eventsPoll) != nil {
			return nil //nolint:nilerr // the end is no failure
		}
	}
}
