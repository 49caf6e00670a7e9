package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// loadSubject is where a replica asks all for their load. It is no lane's, for no
// lane has capitals in its name, and needs no right that commands do not need.
const loadSubject = "weir.ctl.LOAD"

// ServeLoad answers the replicas that ask for this one's load, until ctx ends. What
// answer returns has to be in memory.
func (b *Broker) ServeLoad(ctx context.Context, answer func() []byte) error {
	sub, err := b.nc.SubscribeSync(loadSubject)
	if err != nil {
		return fmt.Errorf("serve the load: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may have ended
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrSlowConsumer): // who asked in vain asks again
		case err != nil:
			return fmt.Errorf("serve the load: %w", err)
		default:
			b.answer(m, answer())
		}
	}
}

// AskLoad asks all replicas for their load, and calls heard with each answer until
// that returns true or ctx ends, which is its error.
func (b *Broker) AskLoad(ctx context.Context, heard func(answer []byte) (enough bool)) error {
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("ask for the load: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(loadSubject, inbox, []byte(`{"v":1}`)); err != nil {
		return fmt.Errorf("ask for the load: %w", err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("ask for the load: %w", err)
		}
		if m.Header.Get("Status") == "503" { // nobody serves it
			return fmt.Errorf("ask for the load: %w", nats.ErrNoResponders)
		}
		if heard(m.Data) {
			return nil
		}
	}
}
