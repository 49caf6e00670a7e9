package broker

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of watching keys: a change is seen within watchPoll, and all are read
// anew every watchRescan polls in case the bucket itself was replaced.
const (
	watchPoll   = 300 * time.Millisecond
	watchRescan = 100
)

// watchKeys calls changed with the newest message of each key of WEIR_LANES that
// begins with prefix and has one more word, and then within a second of each
// change, until ctx ends. While the broker is away it keeps trying, and then
// tells what changed meanwhile.
//
// It polls the leader, one small request for all keys, because a watch on the
// bucket can be silent for 20 s after the broker's restart. what names them in
// the log.
func (b *Broker) watchKeys(ctx context.Context, what, prefix string, changed func(*jetstream.RawStreamMsg)) error {
	w := keyWatch{b: b, filter: lanesPrefix + prefix + "*", changed: changed, seen: make(map[string]uint64)}
	failing := false
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	for polls := 0; ; polls++ {
		if polls%watchRescan == 0 {
			w.next = 1
		}
		err := w.poll(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			b.lg.Warn().Err(err).Msg(what + " cannot be read")
		}
		if failing = err != nil; failing {
			polls = -1 // all of them, once they can be read
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

type keyWatch struct {
	b       *Broker
	filter  string
	changed func(*jetstream.RawStreamMsg)
	next    uint64            // the first sequence not looked at
	seen    map[string]uint64 // the revision last told, by subject
}

// poll tells what is new since the last poll.
func (w *keyWatch) poll(ctx context.Context) error {
	return w.b.newest(ctx, w.filter, w.next, func(m *jetstream.RawStreamMsg) {
		w.next = m.Sequence + 1
		if w.seen[m.Subject] != m.Sequence {
			w.seen[m.Subject] = m.Sequence
			w.changed(m)
		}
	})
}
