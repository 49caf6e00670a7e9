package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	readBatch = 512
	startRead = 8192 // of headers, at the start, when somebody waits for it
	readWait  = 2 * time.Second
)

// message is one message of a stream, without its body if only headers were
// asked for.
type message struct {
	subject  string
	header   nats.Header
	data     []byte
	sequence uint64
	time     time.Time
}

// reading says what is to be read of a stream.
type reading struct {
	stream  string
	filter  string
	from    uint64
	to      uint64        // 0: to the end
	headers bool          // without the bodies
	pause   time.Duration // after each batch
}

// read gives each message that can be read, in the order of the sequences: most
// of them through a consumer, for its speed, and what that left out, be it for an
// error or because its replica was behind, from the leader.
func (g *Guard) read(ctx context.Context, r reading, give func(message) error) error {
	js := g.b.JetStream()
	s, err := js.Stream(ctx, r.stream)
	if err == nil {
		w := &walk{js: js, s: s, r: r, next: max(r.from, 1), size: readBatch, give: give}
		if r.headers && r.pause == 0 {
			w.size = startRead
		}
		err = w.all(ctx)
		for err == nil {
			err = w.step(ctx)
		}
	}
	if errors.Is(err, errEnd) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read stream %s: %w", r.stream, err)
	}
	return nil
}

// errEnd is a walk that has come as far as it was to; errMissed is one of whose
// messages some did not come in time, and will not come any more.
var (
	errEnd    = errors.New("the end")
	errMissed = errors.New("messages did not come in time")
)

type walk struct {
	js   jetstream.JetStream
	s    jetstream.Stream
	r    reading
	next uint64 // the first sequence not yet looked at
	size uint64 // how many are asked for at once
	most uint64 // that size may be
	give func(message) error
}

// all reads in bulk, with a consumer anew and in smaller portions at first after one of
// which messages were missed, as on a slow line.
func (w *walk) all(ctx context.Context) error {
	w.most = w.size
	for {
		from := w.next
		err := w.bulk(ctx)
		if !errors.Is(err, errMissed) {
			return err
		}
		if w.size = max(w.size/4, 1); w.next == from && w.size == 1 {
			return nil // the leader is asked instead
		}
	}
}

// bulk reads through a consumer as far as that goes.
func (w *walk) bulk(ctx context.Context) error {
	c, err := w.s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: w.next,
		FilterSubject: w.r.filter, HeadersOnly: w.r.headers,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil // the leader is asked instead
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = w.s.DeleteConsumer(ctx, c.CachedInfo().Name) // else the broker removes it in a minute
	}()
	if most := c.CachedInfo().Config.MaxRequestBatch; most > 0 { // the server's own limit
		w.size, w.most = min(w.size, uint64(most)), min(w.most, uint64(most))
	}
	return w.pull(ctx, c.CachedInfo())
}

// step reads the next message from the leader.
func (w *walk) step(ctx context.Context) error {
	m, err := w.s.GetMsg(ctx, w.next, jetstream.WithGetMsgSubject(w.r.filter))
	if err != nil {
		return err
	}
	return w.take(message{m.Subject, m.Header, m.Data, m.Sequence, m.Time})
}

func (w *walk) take(m message) error {
	if w.r.to != 0 && m.sequence > w.r.to {
		return errEnd
	}
	w.next = m.sequence + 1
	return w.give(m)
}
