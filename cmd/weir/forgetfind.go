package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact"
	"github.com/weirhq/weir/schema"
)

// events are intents by lane.
type events map[string]map[string]bool

func (e events) add(lane, intent string) error {
	if e[lane][intent] {
		return nil
	}
	if e.count() >= mostForgotten {
		return errMoreToForget
	}
	if e[lane] == nil {
		e[lane] = make(map[string]bool)
	}
	e[lane][intent] = true
	return nil
}

func (e events) count() (n int) {
	for _, keys := range e {
		n += len(keys)
	}
	return n
}

// lists is the stored form.
func (e events) lists() map[string][]string {
	all := make(map[string][]string, len(e))
	for lane, keys := range e {
		if len(keys) == 0 {
			continue
		}
		all[lane] = slices.Sorted(maps.Keys(keys))
	}
	return all
}

// everyLane are the lane that is named, or else all of the file and those that ran
// before.
func (f *forgetting) everyLane(ctx context.Context, name string) ([]string, error) {
	lanes := f.laneNames()
	ran, err := f.broker.Ran(ctx)
	if err != nil {
		return nil, err
	}
	for _, lane := range ran {
		if !slices.Contains(lanes, lane) {
			lanes = append(lanes, lane)
		}
	}
	switch {
	case name == "":
		return lanes, nil
	case slices.Contains(lanes, name):
		return []string{name}, nil
	default:
		return nil, f.checkLane(name)
	}
}

// known adds an intent that the lane knows: its ledger, or its stream.
func (f *forgetting) known(ctx context.Context, found events, lane, intent string) error {
	s, err := f.seekIn(ctx, lane, intent)
	if err != nil || !s.known() {
		return err
	}
	return found.add(lane, intent)
}

// search finds the events of a person wherever their data is kept, and those that the
// ledger has under an id that is the person's own number or address.
func (f *forgetting) search(ctx context.Context, found events, lanes []string, who contact.Person, source string) error {
	for _, lane := range lanes {
		s := &search{f: f, lane: lane, region: f.region(lane), who: who, source: source, found: found}
		for _, look := range []func(context.Context) error{s.events, s.later, s.letters, s.entries} {
			if err := look(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// search looks for a person in one lane.
type search struct {
	f            *forgetting
	lane, region string
	who          contact.Person
	source       string // empty: any
	found        events
}

// theirs reads an event, and reports whether it is the person's.
func (s *search) theirs(header map[string][]string, data []byte) (event.Event, bool) {
	s.f.read++
	s.f.p.draw("%d messages read", s.f.read)
	ev, err := schema.Decode(header, data, max(len(data), 1))
	if err != nil || s.source != "" && ev.Source() != s.source {
		return ev, false
	}
	return ev, s.who.In(ev.Data(), s.region) || s.who.Is(ev.ID(), s.region) || s.who.Is(ev.Subject(), s.region)
}

func (s *search) events(ctx context.Context) error {
	for k, err := range s.f.broker.KeptEvents(ctx, s.lane) {
		if err != nil {
			return err
		}
		ev, ok := s.theirs(k.Header, k.Data)
		if !ok {
			continue
		}
		intent, err := s.f.intentOf(ctx, s.lane, ev)
		if err == nil {
			err = s.found.add(s.lane, intent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *search) later(ctx context.Context) error {
	for k, err := range s.f.broker.KeptLater(ctx, s.lane) {
		if err != nil {
			return err
		}
		if _, ok := s.theirs(k.Header, k.Data); ok {
			if err := s.found.add(s.lane, k.Intent); err != nil {
				return err
			}
		}
	}
	return nil
}

// letters looks at the copies of dead letters and doubts. What of one cannot be read
// is no reason to leave its event out.
func (s *search) letters(ctx context.Context) error {
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		for l, err := range s.f.broker.Letters(ctx, state, s.lane) {
			if err != nil && l.Intent == "" {
				return err
			}
			if _, ok := s.theirs(l.Header, l.Data); ok {
				if err := s.found.add(s.lane, l.Intent); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// entries looks at the ids that the ledger has: that of an event that is gone may be
// a number.
func (s *search) entries(ctx context.Context) error {
	for e, err := range s.f.ledger.Scan(ctx, s.lane, noTime) {
		if errors.Is(err, consumer.ErrStrange) {
			continue // it is left as it is, whoever's it is
		}
		if err != nil {
			return err
		}
		in := e.Intent
		if s.source != "" && in.Source != s.source || !s.who.Is(in.ID, s.region) && !s.who.Is(in.Source, s.region) {
			continue
		}
		if err := s.found.add(s.lane, in.Key); err != nil {
			return err
		}
	}
	return nil
}

// redialled adds the calls that followed each event's, and the one that may follow:
// they have its content.
func (f *forgetting) redialled(ctx context.Context, found events) error {
	for lane, keys := range found {
		_, lc, _ := f.lane(lane)
		most := len(redials(lc.Contact).After)
		for _, key := range slices.Collect(maps.Keys(keys)) {
			in, _, err := f.ledger.Load(ctx, lane, key)
			if err != nil {
				return err
			}
			first := in.ID
			if in.Redial > 0 {
				first = in.RedialOf
			}
			source := in.Source
			for n := in.Redial + 1; n <= schema.MostRedials && source != "" && (in.Next != "" || in.MayEnd() && n <= most); n++ {
				next := consumer.Key(lane, source, schema.RedialID(first, n))
				if err := found.add(lane, next); err != nil {
					return err
				}
				if in, _, err = f.ledger.Load(ctx, lane, next); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// intentOf is the intent of an event in a lane's stream. One whose source and id were
// taken by another content has an intent of its own.
func (f *forgetting) intentOf(ctx context.Context, lane string, ev event.Event) (string, error) {
	key := consumer.Key(lane, ev.Source(), ev.ID())
	in, _, err := f.ledger.Load(ctx, lane, key)
	if err != nil {
		return "", fmt.Errorf("an event of the person: %w", err)
	}
	digest := schema.Digest(ev)
	if in.State != consumer.Absent && in.Digest != "" && digest != in.Digest && digest != in.Former {
		return consumer.ConflictKey(key, digest), nil
	}
	return key, nil
}
