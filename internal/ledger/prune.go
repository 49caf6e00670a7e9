package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// pruneBatch is how many entries are removed under one word of the guard.
const pruneBatch = 256

// Prune removes the entries of a lane to which nothing can happen any more and
// that were last written before a time, by the broker's clock: those that ended,
// were cancelled, have expired or were suppressed. It returns how many it removed.
//
// An entry is removed together with the revision that was read: one that was
// written since stays. Nothing is left of it, and its key counts as absent. The
// newest entry of the bucket stays, so that the bucket's last sequence never
// depends on a removal.
//
// allow is called with how many entries remove may remove at most, before it
// does: whoever keeps account of the entries notes it durably, then calls remove.
// A crash at any step leaves fewer removed than noted.
func (l *Ledger) Prune(ctx context.Context, lane string, before time.Time, allow func(ctx context.Context, most int, remove func() error) error) (int, error) {
	old, err := l.outdated(ctx, lane, before)
	if err != nil {
		return 0, fmt.Errorf("prune lane %s of the ledger: %w", lane, err)
	}
	total := 0
	for len(old) > 0 {
		batch := old[:min(len(old), pruneBatch)]
		old = old[len(batch):]
		err := allow(ctx, len(batch), func() error {
			for _, e := range batch {
				if err := l.remove(ctx, e); err != nil {
					return err
				}
				total++
			}
			return nil
		})
		if err != nil {
			return total, fmt.Errorf("prune lane %s of the ledger: %w", lane, err)
		}
	}
	return total, nil
}

// pruneMost bounds what one pass collects, and so its memory.
const pruneMost = 20_000

// outdated returns the keys and revisions of what Prune may remove. Entries lie in
// the order of their last writes, so the first that is young ends the search.
func (l *Ledger) outdated(ctx context.Context, lane string, before time.Time) ([]aged, error) {
	var info *jetstream.StreamInfo
	err := l.retry(ctx, func(ctx context.Context) error {
		var err error
		info, err = l.stream.Info(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	var old []aged
	for e, err := range l.Scan(ctx, lane, time.Time{}) {
		switch {
		case errors.Is(err, consumer.ErrStrange):
			continue // what cannot be read is nobody's to remove
		case err != nil:
			return nil, err
		case !e.Written.Before(before) || len(old) == pruneMost:
			return old, nil
		case e.Revision >= info.State.LastSeq:
		case prunable(e.Intent.State):
			old = append(old, aged{lane + "." + e.Intent.Key, e.Revision})
		}
	}
	return old, nil
}

// aged is an entry that may be removed.
type aged struct {
	path     string
	revision uint64
}

// prunable reports whether nothing can happen any more to an entry in this state.
// A conversation that never ended, a doubt and a dead letter are somebody's still.
func prunable(s consumer.State) bool {
	switch s {
	case consumer.Ended, consumer.Cancelled, consumer.Expired, consumer.Suppressed:
		return true
	default:
		return false
	}
}

// remove purges one revision of one key: everything of its subject below the next
// sequence, of which there is at most this.
func (l *Ledger) remove(ctx context.Context, e aged) error {
	return l.retry(ctx, func(ctx context.Context) error {
		return l.stream.Purge(ctx, jetstream.WithPurgeSubject(subjects+e.path), jetstream.WithPurgeSequence(e.revision+1))
	})
}
