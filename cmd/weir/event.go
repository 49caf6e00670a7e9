package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// eventCmd is weir event.
type eventCmd struct {
	Show   eventShowCmd   `cmd:"" help:"Show what became of events: state, timeline, outcomes, and where they lie. Personal data is masked."`
	Cancel eventCancelCmd `cmd:"" help:"Withdraw events that were not sent yet, in your name."`
}

// eventNames say which events are meant.
type eventNames struct {
	Intents []string `arg:"" optional:"" name:"intent" help:"The intent's key. Of a dead letter or doubt its first characters, or the event's id, will do."`
	Source  string   `placeholder:"SOURCE" help:"The event's source, with --id, instead of the intent."`
	ID      string   `name:"id" placeholder:"ID" help:"The event's id, with --source."`
	Lane    string   `placeholder:"NAME" help:"Lane to look in; default: all."`
}

// check refuses what names no event, or names it in two ways. An id alone names
// none: two sources may use the same one.
func (c *eventNames) check() error {
	switch byName := c.Source != "" || c.ID != ""; {
	case byName && len(c.Intents) > 0:
		return usageError{errors.New("which event? name it by its intent, or by --source and --id")}
	case byName && (c.Source == "" || c.ID == ""):
		return usageError{errors.New("an event is known by its source and id together: give both --source and --id")}
	case !byName && len(c.Intents) == 0:
		return usageError{errors.New("which event? name it by its intent, or by --source and --id")}
	}
	return nil
}

// sought is one event that a person asks about.
type sought struct {
	lane, intent string
	source, id   string          // as the person, or the event in its stream, has them
	now          consumer.Intent // by the ledger
	queued       *broker.Found   // in the lane's stream, where the ledger has nothing
	ordered      bool            // a person ordered it to be sent again
}

// known reports whether ledger or stream have it.
func (s sought) known() bool { return s.now.State != consumer.Absent || s.queued != nil }

// seekFor is how long the streams are looked through for events that the ledger
// does not know.
const seekFor = 10 * time.Second

// seek finds the events that are meant. One that is named by source and id, and
// that nobody knows, is found too where one lane alone can be meant.
func (d *desk) seek(ctx context.Context, c eventNames) ([]sought, error) {
	if c.Lane != "" {
		if err := d.checkLane(c.Lane); err != nil {
			return nil, err
		}
	}
	if d.ledger == nil {
		return nil, errNeverServed
	}
	lanes := d.laneNames()
	if c.Lane != "" {
		lanes = []string{c.Lane}
	}
	ctx, cancel := context.WithTimeout(ctx, reachFor+seekFor)
	defer cancel()
	if c.ID != "" {
		return d.seekNamed(ctx, lanes, c.Source, c.ID)
	}
	var all []sought
	var errs []error
	for _, word := range c.Intents {
		s, err := d.seekWord(ctx, lanes, word)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

// seekNamed finds the event in each lane that knows it.
func (d *desk) seekNamed(ctx context.Context, lanes []string, source, id string) ([]sought, error) {
	source, id, err := schema.Identity(source, id)
	if err != nil {
		return nil, usageError{err}
	}
	var known, all []sought
	for _, lane := range lanes {
		s, err := d.seekIn(ctx, lane, consumer.Key(lane, source, id))
		if err != nil {
			return nil, err
		}
		s.source, s.id = source, id
		if all = append(all, s); s.known() {
			known = append(known, s)
		}
	}
	switch {
	case len(known) > 0:
		return known, nil
	case len(all) == 1:
		return all, nil
	default:
		return nil, fmt.Errorf("no lane knows an event %s of %s: it was not published, or it is forgotten", clean(id), clean(source))
	}
}

// seekWord finds the event that a person's word means.
func (d *desk) seekWord(ctx context.Context, lanes []string, word string) (sought, error) {
	key, err := uuid.Parse(word)
	if err != nil {
		return d.seekLetter(ctx, lanes, word)
	}
	for _, lane := range lanes {
		s, err := d.seekIn(ctx, lane, key.String())
		if err != nil || s.known() {
			return s, err
		}
	}
	return sought{}, fmt.Errorf("no lane knows an event with the intent %s: it was not published, or it is forgotten", key)
}

// seekIn looks for an intent in one lane: in the ledger, then among the events that
// nobody has taken up.
func (d *desk) seekIn(ctx context.Context, lane, intent string) (s sought, err error) {
	s = sought{lane: lane, intent: intent}
	if s.now, _, err = d.ledger.Load(ctx, lane, intent); err != nil || s.now.State != consumer.Absent {
		s.source, s.id = s.now.Source, s.now.ID
		return s, err
	}
	found, err := d.broker.Seek(ctx, lane, intent)
	switch {
	case errors.Is(err, consumer.ErrGone):
		return s, nil
	case errors.Is(err, context.DeadlineExceeded):
		return s, fmt.Errorf("lane %s has too many events to look through for one that the ledger does not know; try again when they are fewer", lane)
	case err != nil:
		return s, err
	}
	s.queued = &found
	if ev, err := schema.Decode(found.Header, found.Data, 0); err == nil {
		s.source, s.id = ev.Source(), ev.ID()
	}
	return s, nil
}

// seekLetter finds the dead letter or doubt that a word means.
func (d *desk) seekLetter(ctx context.Context, lanes []string, word string) (sought, error) {
	lane := ""
	if len(lanes) == 1 {
		lane = lanes[0]
	}
	found := make(map[string]sought)
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		for k, err := range d.letters(ctx, state, lane) {
			if err != nil && k.Intent == "" {
				return sought{}, err
			}
			if named(k.Letter, word) {
				found[k.Intent] = sought{lane: k.Lane, intent: k.Intent, source: k.now.Source, id: k.now.ID, now: k.now}
			}
		}
	}
	var keys []string
	for key := range found {
		keys = append(keys, key)
	}
	switch len(keys) {
	case 1:
		return found[keys[0]], nil
	case 0:
		return sought{}, fmt.Errorf("no dead letter or doubt is called %q; name any other event by its whole intent, or by --source and --id", word)
	default:
		return sought{}, fmt.Errorf("%q means %d events; name one by its intent: %s", word, len(keys), strings.Join(keys[:min(len(keys), 5)], ", "))
	}
}
