package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// ErrAsked is an order to send again what somebody has ordered to be sent again
// already: the first order waits for the lane's owner.
var ErrAsked = errors.New("already asked for")

// headerCorrected holds the digest of the event that a replay brings in the
// place of the letter's own.
const headerCorrected = "Weir-Corrected"

// Order is a person's order to send an event again which the lane's owner has
// not carried out yet.
type Order struct {
	Expect    int    // the N that the person saw
	By        string // who
	Reason    string // why
	Corrected string // digest of the event that is to be sent in the letter's place; empty: its own
}

// Replay orders that a letter's event be sent again. It is one publish; the
// lane's owner obeys if the intent still has the N of r. An order for the same N
// that still waits is ErrAsked, whoever gave it and however long ago. A letter
// that was cut cannot be sent again: ErrCut.
func (b *Broker) Replay(ctx context.Context, l consumer.Letter, r consumer.Replay) error {
	if IsCut(l) {
		return fmt.Errorf("replay %s: %w", l.Intent, ErrCut)
	}
	return b.replay(ctx, l, r, "")
}

// ReplayCorrected is Replay with another event, which stands in l in the place
// of the letter's own; digest is its schema.Digest.
func (b *Broker) ReplayCorrected(ctx context.Context, l consumer.Letter, r consumer.Replay, digest string) error {
	return b.replay(ctx, l, r, digest)
}

// IsCut reports whether a letter's event was too large to be kept whole.
func IsCut(l consumer.Letter) bool { return len(l.Header[headerCut]) > 0 }

// orderTries is how often an order is tried while others change the subject.
const orderTries = 5

// replay publishes an order unless one for the same N waits already. That is
// looked up first, and the publish demands that nothing was added since, so two
// commands at one time give one order. The message id is the same for the same
// N and event, which makes a repeated publish harmless; where the broker still
// knows the id of an order that is done with, the next one is new.
func (b *Broker) replay(ctx context.Context, l consumer.Letter, r consumer.Replay, digest string) error {
	if err := checkIntent(l.Lane, l.Intent); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	command := uuid.NewSHA1(uuid.MustParse(l.Intent), []byte(strconv.Itoa(r.Expect)+"\n"+digest))
	for range orderTries {
		o, last, err := b.order(ctx, l.Lane, l.Intent)
		if err != nil {
			return fmt.Errorf("replay %s: %w", l.Intent, err)
		}
		if o != nil && o.Expect == r.Expect {
			return fmt.Errorf("replay %s: %w", l.Intent, ErrAsked)
		}
		m := newMsg(dueSubject(l.Lane, l.Intent), l.Intent+".r."+command.String(), foreign(l.Header), l.Data)
		setReplay(m.Header, r)
		if digest != "" {
			m.Header.Set(headerCorrected, digest)
		}
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(last, 10))
		ack, err := b.publish(ctx, StreamLater, m)
		switch {
		case outpaced(err): // another order came, or the one before was trimmed
		case err != nil:
			return fmt.Errorf("replay %s: %w", l.Intent, err)
		case ack.Duplicate: // no proof that the order is still there (H7)
			command = uuid.New()
		default:
			return nil
		}
	}
	return fmt.Errorf("replay %s: others are giving orders for it; try again in a moment", l.Intent)
}

// setReplay writes a person's order.
func setReplay(h nats.Header, r consumer.Replay) {
	h.Set(headerReplay, strconv.Itoa(r.Expect))
	h.Set(headerBy, url.PathEscape(schema.Cut(r.By, maxField)))
	h.Set(headerReason, url.PathEscape(schema.Cut(r.Reason, maxField)))
	if !r.At.IsZero() {
		h.Set(headerGiven, r.At.UTC().Format(time.RFC3339Nano))
	}
}

func dueSubject(lane, intent string) string { return "weir.due." + lane + "." + intent }

// Ordered returns the order to send an intent's event again that the lane's
// owner has not carried out yet, or nil.
func (b *Broker) Ordered(ctx context.Context, lane, intent string) (*Order, error) {
	if err := checkIntent(lane, intent); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	o, _, err := b.order(ctx, lane, intent)
	if err != nil {
		return nil, fmt.Errorf("order for %s: %w", intent, err)
	}
	return o, nil
}

// order returns the newest order for an intent, if it still waits, and the
// sequence of the newest message on its subject.
func (b *Broker) order(ctx context.Context, lane, intent string) (o *Order, last uint64, err error) {
	m, err := b.last(ctx, StreamLater, dueSubject(lane, intent))
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, err
	}
	if err == nil {
		last = m.Sequence
		if o = orderOf(m.Header); o != nil {
			done, err := b.obeyed(ctx, lane)
			if err != nil || last > done {
				return o, last, err
			}
		}
	}
	// Or its owner has put it off, until people may be contacted.
	m, err = b.last(ctx, StreamLater, laterSubject(lane, intent))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, last, nil
	}
	if err != nil {
		return nil, last, err
	}
	return orderOf(m.Header), last, nil
}

// orderOf reads an order; nil if there is none.
func orderOf(h nats.Header) *Order {
	r := replayOf(h)
	if r == nil {
		return nil
	}
	return &Order{Expect: r.Expect, By: r.By, Reason: r.Reason, Corrected: h.Get(headerCorrected)}
}

// obeyed is the sequence up to which a lane's owner is done with what was
// addressed to the lane: 0 if it never ran.
func (b *Broker) obeyed(ctx context.Context, lane string) (uint64, error) {
	info, err := b.consumerInfo(ctx, StreamLater, dueConsumer(lane))
	if err != nil || info == nil {
		return 0, err
	}
	return info.AckFloor.Stream, nil
}
