package broker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// lanesPrefix is what the keys of the bucket WEIR_LANES begin with, as
// subjects.
const lanesPrefix = "$KV.WEIR_LANES."

// record is the newest message of a key of a bucket.
type record struct {
	revision uint64 // 0 if there is none
	data     []byte // nil if the key does not exist
	removed  bool   // somebody removed the key: it did not run out, nor just vanish
}

func newRecord(m *jetstream.RawStreamMsg) record {
	operation := m.Header.Get("KV-Operation")
	r := record{revision: m.Sequence, removed: operation == "DEL"}
	if operation == "" && m.Header.Get(jetstream.MarkerReasonHeader) == "" {
		r.data = m.Data
	}
	return r
}

// readKey asks the leader for a key of WEIR_LANES.
func (b *Broker) readKey(ctx context.Context, key string) (record, error) {
	return b.readSubject(ctx, StreamLanes, lanesPrefix+key)
}

// readSubject asks the leader for a key of a bucket, by its subject.
func (b *Broker) readSubject(ctx context.Context, stream, subject string) (record, error) {
	m, err := b.last(ctx, stream, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{}, nil
	}
	if err != nil {
		return record{}, err
	}
	return newRecord(m), nil
}

// keyWrite is one write to a key of a bucket. One that is sent again needs an
// id or a revision that it expects, or a copy that was held up on its way would
// undo what was written after it.
type keyWrite struct {
	id      string // the same on each attempt
	bucket  string // what its keys begin with, as subjects; empty: those of WEIR_LANES
	key     string
	data    []byte
	ttl     time.Duration // in whole seconds; 0: for ever
	expect  *uint64       // the revision that the key must have; nil: any
	removal bool
}

// writeKey sends a write once.
func (b *Broker) writeKey(ctx context.Context, w keyWrite) (uint64, error) {
	m := &nats.Msg{Subject: b.written(cmp.Or(w.bucket, lanesPrefix) + w.key), Header: nats.Header{}, Data: w.data}
	if w.removal {
		m.Header.Set("KV-Operation", "DEL")
	}
	opts := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}
	if w.id != "" {
		opts = append(opts, jetstream.WithMsgID(w.id))
	}
	if w.ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(w.ttl))
	}
	if w.expect != nil {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(*w.expect))
	}
	ack, err := b.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// errUnderWay is a write that was refused although its key has the revision that it
// expects: an earlier one, perhaps of our own, waits for the quorum of a replicated
// stream, and is stored or dropped in the end.
var errUnderWay = errors.New("another write to the key is under way")

// overtaken finds out why a write was outpaced. The error is consumer.ErrConflict if
// the key has another revision than the one that was expected, and else errUnderWay.
func (b *Broker) overtaken(ctx context.Context, key string, expect uint64) (record, error) {
	r, err := b.readKey(ctx, key)
	switch {
	case err != nil:
		return r, err
	case r.revision == expect:
		return r, errUnderWay
	default:
		return r, consumer.ErrConflict
	}
}

// written returns where a key with this subject is written. In a JetStream domain
// a bucket is reached below the domain's API.
func (b *Broker) written(subject string) string {
	if b.cfg.Domain != "" {
		return "$JS." + b.cfg.Domain + ".API." + subject
	}
	return subject
}
