package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// forgetting carries out orders to forget. What a crash leaves after each step, and
// what the next weir forget makes of it:
//
//	found                nothing was changed; the command has to be given again
//	written down         the order is in WEIR_LANES: all that follows is done again
//	withdrawn, dropped   cancelled, its outcome told: it is forgotten next
//	forgotten            the ledger says so: nothing is told or sent of it any more, and
//	                     its copies are removed
//	removed, in part     they are looked for by their keys, which stay
//	removed              the order is taken out
//
// What cannot be forgotten yet stays in the order. Each step may be done twice, by two
// commands at once, and beside running replicas: the ledger is changed by a lane's
// owner alone.
type forgetting struct {
	*desk
	p      *progress
	read   int
	silent map[string]string // lanes whose owner did not answer, and what that means
	report forgetReport
	by     decision // of the order that is being carried out
	// before is called before each durable step; an error ends the command there, as
	// a crash would. Nil: it is not.
	before func(step string) error
}

// noTime is the beginning of everything.
var noTime time.Time

// step says that a durable step is next.
func (f *forgetting) step(name string) error {
	if f.before == nil {
		return nil
	}
	return f.before(name)
}

// write writes an order down, or what is left of it.
func (f *forgetting) write(ctx context.Context, o broker.Oblivion) (broker.Oblivion, error) {
	if err := f.step("write"); err != nil {
		return o, err
	}
	return f.broker.StoreOblivion(ctx, o)
}

// carryOut does what an order says, as far as that can be done now.
func (f *forgetting) carryOut(ctx context.Context, o broker.Oblivion) error {
	f.by = decision{By: o.By, Reason: o.Reason}
	gone, left := make(events), make(map[string][]string)
	for lane, keys := range o.Events {
		for _, key := range keys {
			in, why, err := f.forget(ctx, lane, key)
			switch {
			case err != nil:
				return err
			case why == "", why == unknownEvent:
				if gone[lane] == nil {
					gone[lane] = make(map[string]bool)
				}
				gone[lane][key] = true // what there may be of it lies in its copies
				f.converse(in)
				if in.State != consumer.Absent {
					f.report.Counts.Ledger++
				}
			case in.State != consumer.Absent || why == f.silent[lane]:
				left[lane] = append(left[lane], key)
				fallthrough
			default:
				f.report.NotYet = append(f.report.NotYet, notYet{lane, key, in.State, why})
			}
			f.p.draw("%d events forgotten", f.report.Counts.Ledger)
		}
	}
	if err := f.survey(ctx, gone, true); err != nil {
		return err
	}
	o.Events = left
	if _, err := f.write(ctx, o); err != nil && !errors.Is(err, consumer.ErrConflict) { // then another command goes on with it
		return err
	}
	return nil
}

// converse notes the conversations that the provider has a record of.
func (f *forgetting) converse(in consumer.Intent) {
	for _, id := range append([]string{in.Conversation}, in.Others...) {
		c := conversationKept{in.Lane, id}
		if id != "" && !slices.Contains(f.report.Conversations, c) {
			f.report.Conversations = append(f.report.Conversations, c)
		}
	}
}

// forget brings one event to where its owner forgets it, and has it forgotten. why
// says what keeps it; empty: it is forgotten.
func (f *forgetting) forget(ctx context.Context, lane, key string) (in consumer.Intent, why string, err error) {
	for range 4 { // withdrawn or dropped, then forgotten; once more if it moved meanwhile
		if in, _, err = f.ledger.Load(ctx, lane, key); err != nil || !in.Forgotten.IsZero() {
			return in, "", err
		}
		if why = f.silent[lane]; why != "" {
			return in, why, nil
		}
		if why, err = f.advance(ctx, lane, key, in); err != nil {
			return in, "", err
		}
		if why != "" {
			if now, _, err := f.ledger.Load(ctx, lane, key); err != nil || now.State == in.State {
				return in, why, err
			}
		}
	}
	return in, cmp.Or(why, "the event is being worked on; try again in a moment"), nil
}

// unknownEvent is a redial that was not made, or an event that has run out.
const unknownEvent = "no lane knows an event with this intent"

// advance takes the next step with an event.
func (f *forgetting) advance(ctx context.Context, lane, key string, in consumer.Intent) (why string, err error) {
	switch in.State {
	case consumer.Absent, consumer.Waiting:
		s, err := f.seekIn(ctx, lane, key)
		if err != nil {
			return "", err
		}
		if !s.known() {
			return unknownEvent, nil
		}
		if err := f.step("withdraw"); err != nil {
			return "", err
		}
		w, err := f.cancel(ctx, s, f.by, false)
		if w.Silent {
			f.silent[lane] = w.Result
		}
		if err != nil || w.Withdrawn {
			return "", err
		}
		return w.Result, nil
	case consumer.Dead:
		return f.order(ctx, "drop", lane, consumer.Command{Verb: consumer.VerbDrop, Intent: key, Expect: in.N})
	default: // the owner says what keeps it
		return f.order(ctx, "forget", lane, consumer.Command{Verb: consumer.VerbForget, Intent: key, Expect: in.N})
	}
}

// order asks the lane's owner to act.
func (f *forgetting) order(ctx context.Context, step, lane string, c consumer.Command) (why string, err error) {
	if err := f.step(step); err != nil {
		return "", err
	}
	c.By, c.Reason = f.by.By, f.by.Reason
	_, err = f.command(ctx, lane, c)
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, broker.ErrNoOwner):
		f.silent[lane] = fmt.Sprintf("no weir serve is running for lane %s, and only its owner can forget; start it, with the lane in its file", lane)
		return f.silent[lane], nil
	case errors.Is(err, context.DeadlineExceeded):
		f.silent[lane] = "weir serve did not answer in time"
		return f.silent[lane], nil
	default:
		return err.Error(), nil
	}
}

// survey counts what is kept of events, or removes it.
func (f *forgetting) survey(ctx context.Context, all events, remove bool) error {
	for lane, keys := range all {
		s := &survey{f: f, lane: lane, keys: keys, remove: remove, n: &f.report.Counts}
		for _, look := range []func(context.Context) error{s.own, s.outcomes, s.undelivered, s.events} {
			if err := look(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// survey is one look for what is kept of events of one lane.
type survey struct {
	f      *forgetting
	lane   string
	keys   map[string]bool
	remove bool
	n      *forgetCounts
}

// found counts one message, and removes it.
func (s *survey) found(n *int, step string, erase func() error) error {
	if s.remove {
		if err := s.f.step(step); err != nil {
			return err
		}
		if err := erase(); err != nil {
			return err
		}
	}
	*n++
	return nil
}

// look counts the messages that were read.
func (s *survey) look() {
	s.f.read++
	s.f.p.draw("%d messages read", s.f.read)
}

// own looks at what lies on the events' own subjects.
func (s *survey) own(ctx context.Context) error {
	for key := range s.keys {
		if s.remove {
			if err := s.f.step("letters and schedules"); err != nil {
				return err
			}
		}
		n, err := s.f.broker.EraseIntent(ctx, s.lane, key, !s.remove)
		if err != nil {
			return err
		}
		s.n.Postponed += n.Postponed
		s.n.Letters += n.Letters
		s.look()
	}
	return nil
}

func (s *survey) outcomes(ctx context.Context) error {
	for o, err := range s.f.broker.KeptOutcomes(ctx, s.lane) {
		if err != nil {
			return err
		}
		s.look()
		var told struct {
			Data struct {
				Intent string `json:"intent"`
			} `json:"data"`
		}
		if json.Unmarshal(o.Body, &told) != nil || !s.keys[told.Data.Intent] {
			continue
		}
		if err := s.found(&s.n.Outcomes, "outcome", func() error { return s.f.broker.EraseOutcome(ctx, o.Sequence) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) undelivered(ctx context.Context) error {
	for u, err := range s.f.broker.UndeliveredOutcomes(ctx, s.lane) {
		if err != nil {
			return err
		}
		s.look()
		if !s.keys[u.Intent] {
			continue
		}
		if err := s.found(&s.n.Undelivered, "undelivered", func() error { return s.f.broker.EraseUndelivered(ctx, u.Lane, u.ID) }); err != nil {
			return err
		}
	}
	return nil
}

// events looks at the lane's stream, last: what is there is how the others are found
// by whoever looks for the person anew.
func (s *survey) events(ctx context.Context) error {
	for k, err := range s.f.broker.KeptEvents(ctx, s.lane) {
		if err != nil {
			return err
		}
		s.look()
		mine, err := s.mine(ctx, k)
		if err == nil && mine {
			err = s.found(&s.n.Events, "event", func() error { return s.f.broker.EraseEvent(ctx, k.Sequence) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mine reports whether a message is one of the events.
func (s *survey) mine(ctx context.Context, k broker.KeptEvent) (bool, error) {
	if s.keys[k.Place] {
		return true, nil
	}
	ev, err := schema.Decode(k.Header, k.Data, max(len(k.Data), 1))
	if err != nil {
		return false, nil //nolint:nilerr // it is known by its place, if at all
	}
	key := consumer.Key(s.lane, ev.Source(), ev.ID())
	if !s.keys[key] && !s.keys[consumer.ConflictKey(key, schema.Digest(ev))] {
		return false, nil
	}
	intent, err := s.f.intentOf(ctx, s.lane, ev)
	return s.keys[intent], err
}

// plan says what would be removed.
func (f *forgetting) plan(a *app, begun []broker.Oblivion, all events) error {
	f.report.DryRun = true
	if all == nil {
		all = make(events)
	}
	for _, o := range begun {
		for lane, keys := range o.Events {
			for _, key := range keys {
				if err := all.add(lane, key); err != nil {
					return err
				}
			}
		}
	}
	for lane, keys := range all {
		for key := range keys {
			in, _, err := f.ledger.Load(a.ctx, lane, key)
			if err != nil {
				return err
			}
			switch in.State {
			case consumer.Started, consumer.Created, consumer.Doubt:
				f.report.NotYet = append(f.report.NotYet, notYet{lane, key, in.State, fmt.Sprintf("the event is %s; it can be forgotten when that is over", in.State)})
				delete(keys, key)
				continue
			}
			if in.State != consumer.Absent && in.Forgotten.IsZero() {
				f.report.Counts.Ledger++
			}
			f.converse(in)
		}
	}
	err := f.survey(a.ctx, all, false)
	f.p.clear()
	return errors.Join(err, f.report.print(a))
}
