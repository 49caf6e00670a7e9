package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

const headerUndelivered = "Weir-Undelivered"

// undeliveredFormat is the major version of about.
const undeliveredFormat = 1

// Undelivered is an outcome that its publisher did not take. The subject is made of
// lane and id, so that there is one copy of each.
type Undelivered struct {
	Sequence  uint64
	Lane, ID  string
	Kind      string
	Intent    string
	EventID   string
	Source    string
	Published time.Time
	First     time.Time
	Last      time.Time
	Tries     int
	Reason    string
	By        string // who ordered it to be sent again; empty: nobody
	Body      []byte // the CloudEvent as JSON
}

// about is the form in which its fields stand in the header Weir-Undelivered.
type about struct {
	V         int       `json:"v"`
	Kind      string    `json:"kind"`
	Intent    string    `json:"intent,omitzero"`
	EventID   string    `json:"event_id,omitzero"`
	Source    string    `json:"event_source,omitzero"`
	Published time.Time `json:"published"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Tries     int       `json:"tries"`
	Reason    string    `json:"reason,omitzero"`
	By        string    `json:"by,omitzero"`
}

func undeliveredSubject(lane, id string) string { return "weir.undelivered." + lane + "." + id }

// KeepUndelivered keeps a copy of an outcome, in the place of an earlier one. If u
// has the sequence of one, then in the place of that alone: consumer.ErrConflict if
// a person has ordered or removed it meanwhile.
func (b *Broker) KeepUndelivered(ctx context.Context, u Undelivered) error {
	m, err := undeliveredMsg(u)
	if err == nil {
		if u.Sequence > 0 {
			m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(u.Sequence, 10))
		}
		_, err = b.publish(ctx, StreamUndelivered, m)
	}
	if outpaced(err) {
		err = consumer.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("keep an undelivered outcome: %w", err)
	}
	return nil
}

// OrderUndelivered notes on a copy that a person ordered it to be sent again;
// consumer.ErrConflict if it has changed meanwhile, ErrFull if there is no room for
// the note.
func (b *Broker) OrderUndelivered(ctx context.Context, u Undelivered, by string) error {
	u.By = by
	m, err := undeliveredMsg(u)
	if err == nil {
		err = once(ctx, func(ctx context.Context) error {
			_, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0), jetstream.WithExpectLastSequencePerSubject(u.Sequence))
			return err
		})
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == storeFailed {
		err = ErrFull
	}
	if outpaced(err) {
		err = consumer.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("order an undelivered outcome: %w", err)
	}
	return nil
}

func undeliveredMsg(u Undelivered) (*nats.Msg, error) {
	if err := checkIntent(u.Lane, u.ID); err != nil {
		return nil, err
	}
	text, err := json.Marshal(about{
		V: undeliveredFormat, Kind: u.Kind, Intent: u.Intent, EventID: u.EventID, Source: u.Source,
		Published: u.Published.UTC(), First: u.First.UTC(), Last: u.Last.UTC(), Tries: u.Tries, Reason: u.Reason, By: u.By,
	})
	if err != nil {
		return nil, err
	}
	header := nats.Header{headerUndelivered: {ascii(string(text))}, nats.ExpectedStreamHdr: {StreamUndelivered}}
	return &nats.Msg{Subject: undeliveredSubject(u.Lane, u.ID), Header: header, Data: u.Body}, nil
}

// DiscardUndelivered removes a copy that is not newer than the sequence.
func (b *Broker) DiscardUndelivered(ctx context.Context, lane, id string, sequence uint64) error {
	err := checkIntent(lane, id)
	if err == nil {
		var s jetstream.Stream
		if s, err = b.stream(ctx, StreamUndelivered); err == nil {
			err = retry(ctx, budget, func(ctx context.Context) error {
				return s.Purge(ctx, jetstream.WithPurgeSubject(undeliveredSubject(lane, id)), jetstream.WithPurgeSequence(sequence+1))
			})
		}
	}
	if err != nil {
		return fmt.Errorf("remove an undelivered outcome: %w", err)
	}
	return nil
}

// UndeliveredOutcomes yields those of a lane, or, if lane is empty, of all, the
// oldest first. What cannot be read is yielded as an error, and the walk goes on.
// While no lane has ever had one there are none.
func (b *Broker) UndeliveredOutcomes(ctx context.Context, lane string) iter.Seq2[Undelivered, error] {
	return func(yield func(Undelivered, error) bool) {
		filter := undeliveredSubject("*", "*")
		if lane != "" {
			if err := checkLane(lane); err != nil {
				yield(Undelivered{}, err)
				return
			}
			filter = undeliveredSubject(lane, "*")
		}
		for m, err := range b.walk(ctx, StreamUndelivered, filter, 1) {
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return
			}
			if err != nil {
				yield(Undelivered{}, fmt.Errorf("undelivered outcomes: %w", err))
				return
			}
			if !yield(newUndelivered(m)) {
				return
			}
		}
	}
}

func newUndelivered(m *jetstream.RawStreamMsg) (Undelivered, error) {
	parts := strings.Split(m.Subject, ".") // weir.undelivered.<lane>.<id>
	u := Undelivered{Sequence: m.Sequence, Lane: parts[2], ID: parts[3], Body: m.Data}
	var a about
	err := json.Unmarshal([]byte(m.Header.Get(headerUndelivered)), &a)
	if a.V > undeliveredFormat { // whatever else it has
		return u, fmt.Errorf("%s: a newer Weir wrote it (format %d, this one reads %d): run the newer one", m.Subject, a.V, undeliveredFormat)
	}
	if err != nil {
		return u, fmt.Errorf("%s: header %s: %w", m.Subject, headerUndelivered, err)
	}
	u.Kind, u.Intent, u.EventID, u.Source, u.Published = a.Kind, a.Intent, a.EventID, a.Source, a.Published
	u.First, u.Last, u.Tries, u.Reason, u.By = a.First, a.Last, a.Tries, a.Reason, a.By
	return u, nil
}

// CountUndelivered counts those of a lane.
func (b *Broker) CountUndelivered(ctx context.Context, lane string) (int, error) {
	if err := checkLane(lane); err != nil {
		return 0, err
	}
	s, err := b.stream(ctx, StreamUndelivered)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(undeliveredSubject(lane, "*")))
	if err != nil {
		return 0, fmt.Errorf("count undelivered outcomes: %w", err)
	}
	return len(info.State.Subjects), nil
}

// mostLooked is how many copies one look for orders reads.
const mostLooked = 64

// OrderedUndelivered returns a lane's first copy at or behind a sequence that a
// person ordered to be sent again, nil if there is none, and where to look next.
func (b *Broker) OrderedUndelivered(ctx context.Context, lane string, from uint64) (u *Undelivered, next uint64, err error) {
	next = max(from, 1)
	looked := 0
	for m, err := range b.walk(ctx, StreamUndelivered, undeliveredSubject(lane, "*"), next) {
		if err != nil {
			return nil, next, fmt.Errorf("look for ordered outcomes: %w", err)
		}
		next = m.Sequence + 1
		if got, err := newUndelivered(m); err == nil && got.By != "" {
			return &got, next, nil
		}
		if looked++; looked == mostLooked {
			break
		}
	}
	return nil, next, nil
}
