package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// What is removed here, because a person is to be forgotten, is overwritten where it
// lies before the broker counts it as deleted. A hole in a stream is no loss to the
// guard: its mark has the streams' ages and last sequences, which stay, and of what
// is not there it asks no witness. A message that a consumer has delivered is done
// with, to the broker, when it is deleted: the floor passes it.

// KeptEvent is an event in WEIR_EVENTS, done with or not.
type KeptEvent struct {
	Found
	Place string // the intent's key that it would have if it could not be read
}

// KeptEvents yields all events of a lane that are in WEIR_EVENTS, message after
// message, each as its leader has it.
func (b *Broker) KeptEvents(ctx context.Context, lane string) iter.Seq2[KeptEvent, error] {
	return func(yield func(KeptEvent, error) bool) {
		fail := func(err error) { yield(KeptEvent{}, fmt.Errorf("events of lane %s: %w", lane, err)) }
		if err := checkLane(lane); err != nil {
			fail(err)
			return
		}
		s, err := b.stream(ctx, StreamEvents)
		if err != nil {
			fail(err)
			return
		}
		origin := consumer.Origin{Stream: StreamEvents, StreamAge: s.CachedInfo().Created}
		for _, subject := range []string{highSubject(lane), eventsSubject(lane)} {
			for m, err := range b.walk(ctx, StreamEvents, subject, 1) {
				if err != nil {
					fail(err)
					return
				}
				origin.Sequence = m.Sequence
				if !yield(KeptEvent{newFound(m), consumer.PlaceKey(lane, origin)}, nil) {
					return
				}
			}
		}
	}
}

// KeptLater yields all of a lane that is in WEIR_LATER: schedules first, then what is
// or was due. What fires meanwhile moves to a higher sequence, and is met there.
func (b *Broker) KeptLater(ctx context.Context, lane string) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		if err := checkLane(lane); err != nil {
			yield(Found{}, fmt.Errorf("postponed events: %w", err))
			return
		}
		for m, err := range b.walk(ctx, StreamLater, "weir.*."+lane+".*", 1) {
			if err != nil {
				yield(Found{}, fmt.Errorf("postponed events of lane %s: %w", lane, err))
				return
			}
			if !yield(addressed(m), nil) {
				return
			}
		}
	}
}

// KeptOutcomes yields all outcomes of a lane that are in WEIR_OUTCOMES.
func (b *Broker) KeptOutcomes(ctx context.Context, lane string) iter.Seq2[StoredOutcome, error] {
	return func(yield func(StoredOutcome, error) bool) {
		if err := checkLane(lane); err != nil {
			yield(StoredOutcome{}, fmt.Errorf("outcomes: %w", err))
			return
		}
		for m, err := range b.walk(ctx, StreamOutcomes, outcomesSubject(lane, "*"), 1) {
			if err != nil {
				yield(StoredOutcome{}, fmt.Errorf("outcomes of lane %s: %w", lane, err))
				return
			}
			kind := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
			if !yield(StoredOutcome{Sequence: m.Sequence, Published: m.Time, Kind: kind, Body: m.Data}, nil) {
				return
			}
		}
	}
}

// EraseEvent removes an event of WEIR_EVENTS. One that is gone is no error.
func (b *Broker) EraseEvent(ctx context.Context, sequence uint64) error {
	return b.erase(ctx, StreamEvents, sequence)
}

// EraseOutcome removes an outcome. One that is gone is no error.
func (b *Broker) EraseOutcome(ctx context.Context, sequence uint64) error {
	return b.erase(ctx, StreamOutcomes, sequence)
}

// EraseUndelivered removes a copy of an outcome, whoever changed it meanwhile.
func (b *Broker) EraseUndelivered(ctx context.Context, lane, id string) error {
	if err := checkIntent(lane, id); err != nil {
		return fmt.Errorf("remove an undelivered outcome: %w", err)
	}
	_, err := b.eraseAll(ctx, StreamUndelivered, undeliveredSubject(lane, id))
	return err
}

// Erased counts what was removed of one intent.
type Erased struct{ Postponed, Letters int }

// EraseIntent removes what is kept under an intent's own subjects: schedules, what is
// due, letters. With count it removes nothing and tells what there is.
func (b *Broker) EraseIntent(ctx context.Context, lane, intent string, count bool) (n Erased, err error) {
	if err := checkIntent(lane, intent); err != nil {
		return n, fmt.Errorf("remove what is kept of an event: %w", err)
	}
	do := b.eraseAll
	if count {
		do = b.countAll
	}
	for _, at := range []struct {
		stream, subject string
		n               *int
	}{
		{StreamLater, laterSubject(lane, intent), &n.Postponed}, // first: it may fire
		{StreamLater, dueSubject(lane, intent), &n.Postponed},
		{StreamDead, "weir.dead." + lane + "." + intent, &n.Letters},
		{StreamDead, "weir.doubt." + lane + "." + intent, &n.Letters},
	} {
		found, err := do(ctx, at.stream, at.subject)
		if *at.n += found; err != nil {
			return n, err
		}
	}
	return n, nil
}

// countAll counts the messages on a subject.
func (b *Broker) countAll(ctx context.Context, stream, subject string) (n int, err error) {
	for _, err := range b.walk(ctx, stream, subject, 1) {
		if err != nil {
			return n, fmt.Errorf("count %s: %w", subject, err)
		}
		n++
	}
	return n, nil
}

// eraseAll removes all messages on a subject, and counts them.
func (b *Broker) eraseAll(ctx context.Context, stream, subject string) (n int, err error) {
	for m, err := range b.walk(ctx, stream, subject, 1) {
		if err == nil {
			err = b.erase(ctx, stream, m.Sequence)
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) { // no lane ever had one
			return 0, nil
		}
		if err != nil {
			return n, fmt.Errorf("remove %s: %w", subject, err)
		}
		n++
	}
	return n, nil
}

// erase overwrites and removes one message. The broker refuses to remove what is
// gone, be it by an earlier try of which the answer was lost: then it is asked.
func (b *Broker) erase(ctx context.Context, stream string, sequence uint64) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	err = retry(ctx, budget, func(ctx context.Context) error {
		err := s.SecureDeleteMsg(ctx, sequence)
		if err == nil {
			return nil
		}
		if _, gone := s.GetMsg(ctx, sequence); errors.Is(gone, jetstream.ErrMsgNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove sequence %d of %s: %w", sequence, stream, err)
	}
	return nil
}

// Oblivion is a person's order to forget events that is not carried out in full: what
// a crash leaves to be gone on with. It is kept in WEIR_LANES and names nobody; when
// all is forgotten it is removed.
type Oblivion struct {
	ID     string              `json:"-"`
	V      int                 `json:"v"`
	By     string              `json:"by"`
	Reason string              `json:"reason"`
	At     time.Time           `json:"at"`
	Events map[string][]string `json:"events"` // intents by lane

	revision uint64
}

const (
	oblivionPrefix = "forget."
	oblivionFormat = 1
)

// Oblivions are the orders to forget that are not carried out in full, the oldest
// first.
func (b *Broker) Oblivions(ctx context.Context) ([]Oblivion, error) {
	var all []Oblivion
	var strange error
	err := b.Keys(ctx, oblivionPrefix, 0, func(key string, revision uint64, data []byte, _ bool, _ time.Time) {
		if data == nil {
			return
		}
		o := Oblivion{ID: strings.TrimPrefix(key, oblivionPrefix), revision: revision}
		switch err := json.Unmarshal(data, &o); {
		case o.V > oblivionFormat: // whatever else it has
			strange = fmt.Errorf("a newer Weir wrote the order %s of WEIR_LANES (format %d, this one reads %d): run the newer one", key, o.V, oblivionFormat)
		case err != nil:
			strange = fmt.Errorf("the order %s of WEIR_LANES cannot be read: %w", key, err)
		default:
			all = append(all, o)
		}
	})
	return all, errors.Join(err, strange)
}

// StoreOblivion writes an order down, or what is left of it; one without events is
// removed. consumer.ErrConflict: somebody else has gone on with it meanwhile.
func (b *Broker) StoreOblivion(ctx context.Context, o Oblivion) (Oblivion, error) {
	var data []byte
	if len(o.Events) > 0 {
		var err error
		o.V = oblivionFormat
		if data, err = json.Marshal(o); err != nil {
			return o, fmt.Errorf("write down what is to be forgotten: %w", err)
		}
	}
	keep := time.Duration(0)
	if data == nil { // that it was removed need not be remembered for long
		keep = time.Hour
	}
	revision, err := b.WriteKey(ctx, oblivionPrefix+o.ID, data, o.revision, keep)
	if err != nil {
		return o, fmt.Errorf("write down what is to be forgotten: %w", err)
	}
	o.revision = revision
	return o, nil
}
