package broker

import (
	"context"
	"fmt"
)

// markKey is where the mark of how far the state was is kept (see
// internal/guard).
const markKey = "mark"

// Mark returns the mark of how far the state was, nil if there is none, and its
// revision.
func (b *Broker) Mark(ctx context.Context) (data []byte, revision uint64, err error) {
	r, err := b.readKey(ctx, markKey)
	if err != nil {
		return nil, 0, fmt.Errorf("read the mark: %w", err)
	}
	return r.data, r.revision, nil
}

// StoreMark stores the mark if the stored one still has the revision;
// consumer.ErrConflict if it has not. After any other error it may yet be stored.
func (b *Broker) StoreMark(ctx context.Context, data []byte, revision uint64) (uint64, error) {
	var stored uint64
	err := retry(ctx, budget, func(ctx context.Context) error {
		var err error
		stored, err = b.writeKey(ctx, keyWrite{key: markKey, data: data, expect: &revision})
		if !outpaced(err) {
			return err
		}
		r, err := b.overtaken(ctx, markKey, revision)
		if string(r.data) == string(data) { // a copy whose answer was lost
			err = nil
		}
		stored = r.revision
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store the mark: %w", err)
	}
	return stored, nil
}
