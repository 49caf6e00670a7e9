package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

var (
	_ consumer.Outbox      = (*Broker)(nil)
	_ consumer.Switchboard = (*Broker)(nil)
)

// ErrFull is a stream, or a lane's share of it, that has no room for more.
var ErrFull = errors.New("the stream is full")

// Publish implements consumer.Outbox. The event's id is the message's id, so
// the same outcome within 24 hours is stored once.
func (b *Broker) Publish(ctx context.Context, lane, kind string, outcome event.Event) error {
	if err := checkIntent(lane, kind); err != nil {
		return fmt.Errorf("publish outcome: %w", err)
	}
	header, data, err := schema.Encode(outcome, schema.Structured)
	if err != nil {
		return fmt.Errorf("publish outcome %s: %w", kind, err)
	}
	m := newMsg("weir.outcomes."+lane+"."+kind, outcome.ID(), foreign(header), data)
	if _, err := b.publish(ctx, StreamOutcomes, m); err != nil {
		return fmt.Errorf("publish outcome %s: %w", kind, err)
	}
	return nil
}

// Placed is where a published event lies.
type Placed struct {
	Sequence uint64 // in WEIR_EVENTS; of a duplicate, that of the first one
	// Duplicate says that the lane was given a message with this id within the
	// last two minutes, and that this one was therefore dropped.
	Duplicate bool
}

// PublishEvent gives an event to a lane and waits until the broker has stored
// it. Without an id a message whose confirmation was lost may be stored twice.
func (b *Broker) PublishEvent(ctx context.Context, lane string, header map[string][]string, data []byte, msgID string) (Placed, error) {
	return b.publishEvent(ctx, lane, eventsSubject(lane), header, data, msgID)
}

// PublishHigh is PublishEvent for an event that goes before the lane's others. One
// that the lane was given already keeps its place.
func (b *Broker) PublishHigh(ctx context.Context, lane string, header map[string][]string, data []byte, msgID string) (Placed, error) {
	return b.publishEvent(ctx, lane, highSubject(lane), header, data, msgID)
}

func (b *Broker) publishEvent(ctx context.Context, lane, subject string, header map[string][]string, data []byte, msgID string) (Placed, error) {
	if err := checkLane(lane); err != nil {
		return Placed{}, fmt.Errorf("publish event: %w", err)
	}
	ack, err := b.publish(ctx, StreamEvents, newMsg(subject, msgID, foreign(header), data))
	if err == nil && ack.Duplicate {
		var taken bool
		if taken, err = b.elsewhere(ctx, lane, ack.Sequence); taken {
			ack, err = b.publish(ctx, StreamEvents, newMsg(subject, msgID+" "+nuid.Next(), foreign(header), data))
		}
	}
	if err != nil {
		return Placed{}, fmt.Errorf("publish event to lane %s: %w", lane, err)
	}
	return Placed{ack.Sequence, ack.Duplicate}, nil
}

// elsewhere reports whether a message of WEIR_EVENTS is of another lane. The broker knows
// one id for all of them: whoever may publish to one lane could use the id that an event
// of another is about to have, and that event would be lost.
func (b *Broker) elsewhere(ctx context.Context, lane string, sequence uint64) (bool, error) {
	s, err := b.stream(ctx, StreamEvents)
	if err != nil {
		return false, err
	}
	var m *jetstream.RawStreamMsg
	err = retry(ctx, budget, func(ctx context.Context) error {
		var err error
		m, err = s.GetMsg(ctx, sequence)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil // it was done with
	}
	return err == nil && m.Subject != eventsSubject(lane) && m.Subject != highSubject(lane), err
}

func newMsg(subject, id string, header nats.Header, data []byte) *nats.Msg {
	if id != "" {
		header.Set(nats.MsgIdHdr, id)
	}
	return &nats.Msg{Subject: subject, Header: header, Data: data}
}

// publish stores one message, however often it has to be sent; its id, if it
// has one, makes that harmless.
func (b *Broker) publish(ctx context.Context, stream string, m *nats.Msg) (*jetstream.PubAck, error) {
	m.Header.Set(nats.ExpectedStreamHdr, stream)
	var ack *jetstream.PubAck
	err := retry(ctx, budget, func(ctx context.Context) error {
		var err error
		ack, err = b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		return err
	})
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == storeFailed {
		return nil, fmt.Errorf("%s: %w: %w", stream, ErrFull, err)
	}
	return ack, err
}

// foreign returns a copy of headers that somebody else wrote, without those
// that JetStream or Weir would take for an order, and without names that cannot
// be sent.
func foreign(header map[string][]string) nats.Header {
	out := make(nats.Header, len(header)+4)
	for name, values := range cloneHeader(header) {
		if !hasPrefixFold(name, "Nats-") && !hasPrefixFold(name, "Weir-") && sendable(name) {
			out[name] = values
		}
	}
	return out
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// sendable reports whether the client library sends a header of this name.
func sendable(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == ':'
	})
}
