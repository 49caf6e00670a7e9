package consumer

import (
	"context"
	"sync"
	"time"
)

// beating is a message that is kept alive at the broker until it is
// acknowledged or given back. The beat stops first: a sign of life after a Nak
// would cancel its delay.
type beating struct {
	Message
	mu   sync.Mutex
	over bool
}

// beat wraps the messages and signs their life every so often until stop is
// called.
func beat(msgs []Message, every time.Duration) (all []*beating, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	all = make([]*beating, len(msgs))
	for i, m := range msgs {
		all[i] = &beating{Message: m}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			for _, b := range all {
				b.sign()
			}
		}
	})
	return all, func() { cancel(); wg.Wait() }
}

// sign tells the broker that the message is still worked on. A sign that is
// lost costs at most a second delivery, which the ledger stops.
func (b *beating) sign() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		_ = b.Progress()
	}
}

func (b *beating) rest() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

// Ack ends the beat and acknowledges.
func (b *beating) Ack(ctx context.Context) error {
	b.rest()
	return b.Message.Ack(ctx)
}

// Nak ends the beat and gives the message back.
func (b *beating) Nak(delay time.Duration) error {
	b.rest()
	return b.Message.Nak(delay)
}
