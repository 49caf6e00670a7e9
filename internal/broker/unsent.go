package broker

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Unsent yields what a lane may still send: its events from the first on that is not
// acknowledged, then what is postponed or due, with the orders to send again. Some of
// it is done; the ledger knows. It reads one message after the other, each as its
// leader has it.
//
// An event only ever moves from WEIR_EVENTS to WEIR_LATER, and there, when it fires
// or is postponed again, to a higher sequence. Read in this order, one that moves
// meanwhile is yielded once at least.
func (b *Broker) Unsent(ctx context.Context, lane string) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		if err := b.unsent(ctx, lane, func(f Found) bool { return yield(f, nil) }); err != nil {
			yield(Found{}, fmt.Errorf("events of lane %s that are not sent: %w", lane, err))
		}
	}
}

// unsent calls yield with each, until it returns false.
func (b *Broker) unsent(ctx context.Context, lane string, yield func(Found) bool) error {
	floors, err := b.Floors(ctx, lane)
	if err != nil {
		return err
	}
	for _, subject := range []string{highSubject(lane), eventsSubject(lane)} {
		for m, err := range b.walk(ctx, StreamEvents, subject, floors[subject]+1) {
			if err != nil {
				return err
			}
			if !yield(newFound(m)) {
				return nil
			}
		}
	}
	done, err := b.obeyed(ctx, lane)
	if err != nil {
		return err
	}
	for m, err := range b.walk(ctx, StreamLater, "weir.*."+lane+".*", 1) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(m.Subject, "weir.due.") && m.Sequence <= done {
			continue
		}
		if !yield(addressed(m)) {
			return nil
		}
	}
	return nil
}

// addressed is a message that Weir itself addressed to a lane.
func addressed(m *jetstream.RawStreamMsg) Found {
	f := newFound(m)
	f.Intent = m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	f.Order = orderOf(m.Header)
	return f
}
