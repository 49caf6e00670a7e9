package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Keys calls seen with the newest record of each key of WEIR_LANES that begins
// with prefix, which ends in a dot, and was written at or after the revision from,
// as the leader has them, in the order of their revisions. Data is nil if the key
// is gone; removed says that somebody removed it, rather than that it ran out.
func (b *Broker) Keys(ctx context.Context, prefix string, from uint64, seen func(key string, revision uint64, data []byte, removed bool, at time.Time)) error {
	err := b.newest(ctx, lanesPrefix+prefix+">", from, func(m *jetstream.RawStreamMsg) {
		r := newRecord(m)
		seen(strings.TrimPrefix(m.Subject, lanesPrefix), r.revision, r.data, r.removed, m.Time)
	})
	if err != nil {
		return fmt.Errorf("read the keys %s: %w", prefix, err)
	}
	return nil
}

// newest calls each with the newest message of each key of WEIR_LANES whose subject
// matches filter and that was written at or after the revision from, in the order
// of their revisions. It asks the leader for one after the other.
func (b *Broker) newest(ctx context.Context, filter string, from uint64, each func(*jetstream.RawStreamMsg)) error {
	s, err := b.stream(ctx, StreamLanes)
	if err != nil {
		return err
	}
	for next := max(from, 1); ; {
		var m *jetstream.RawStreamMsg
		err := once(ctx, func(ctx context.Context) (err error) {
			m, err = s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		each(m)
		next = m.Sequence + 1
	}
}

// Key returns the newest record of a key of WEIR_LANES, nil if it is gone, and its
// revision, 0 if there never was one.
func (b *Broker) Key(ctx context.Context, key string) (data []byte, revision uint64, err error) {
	r, err := b.readKey(ctx, key)
	if err != nil {
		return nil, 0, fmt.Errorf("read key %s: %w", key, err)
	}
	return r.data, r.revision, nil
}

// WriteKey writes a key of WEIR_LANES once, if its newest record still has the
// revision; consumer.ErrConflict if not. Nil data remove it. The record runs out
// after ttl, in whole seconds; 0 is never. After any other error it may have been
// written, or may still be.
func (b *Broker) WriteKey(ctx context.Context, key string, data []byte, revision uint64, ttl time.Duration) (uint64, error) {
	var stored uint64
	err := once(ctx, func(ctx context.Context) (err error) {
		stored, err = b.writeKey(ctx, keyWrite{key: key, data: data, ttl: ttl, expect: &revision, removal: data == nil})
		if outpaced(err) {
			_, err = b.overtaken(ctx, key, revision)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("write key %s: %w", key, b.explain(ctx, err, 0))
	}
	return stored, nil
}
