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

// heart signs the life of a batch's messages every so often until it is stopped.
type heart struct {
	all   []beating
	every time.Duration

	mu    sync.Mutex // held while it signs
	timer *time.Timer
	still bool
}

// beat wraps the messages and signs their life until their heart is stopped.
func beat(msgs []Message, every time.Duration) *heart {
	h := &heart{all: make([]beating, len(msgs)), every: every}
	for i, m := range msgs {
		h.all[i].Message = m
	}
	h.mu.Lock() // the timer is there before it is over
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(every, h.sign)
	return h
}

// sign gives each message's sign of life.
func (h *heart) sign() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.still {
		return
	}
	for i := range h.all {
		h.all[i].sign()
	}
	h.timer.Reset(h.every)
}

// stop returns when no sign is under way and none will be given.
func (h *heart) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.still = true
	h.timer.Stop()
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
