package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// queue implements consumer.Queue.
type queue struct {
	b       *Broker
	cfg     jetstream.ConsumerConfig
	stream  string
	created time.Time // of the stream
	own     bool      // its messages are Weir's own, and their headers are believed
	high    bool      // its messages go before others
	c       jetstream.Consumer
}

func (b *Broker) queue(ctx context.Context, plan consumerPlan) (*queue, error) {
	s, err := b.stream(ctx, plan.stream)
	if err != nil {
		return nil, err
	}
	q := &queue{
		b: b, stream: plan.stream, created: s.CachedInfo().Created, cfg: plan.cfg,
		own: plan.own, high: plan.high,
	}
	q.c, err = q.consumer(ctx)
	return q, err
}

// consumer creates the durable consumer, or sets its limits to what they must
// be.
func (q *queue) consumer(ctx context.Context) (jetstream.Consumer, error) {
	var c jetstream.Consumer
	err := retry(ctx, budget, func(ctx context.Context) error {
		var err error
		c, err = q.b.js.CreateOrUpdateConsumer(ctx, q.stream, q.cfg)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("consumer %s on %s: %w", q.cfg.Durable, q.stream, err)
	}
	return c, nil
}

// Fetch implements consumer.Queue. A wait of two seconds or more notices within
// two seconds that the broker has gone silent. Messages that came before an
// error are returned with it.
func (q *queue) Fetch(n int, wait time.Duration) ([]consumer.Message, error) {
	if n < 1 {
		return nil, nil
	}
	if wait <= 0 {
		return q.waiting(n)
	}
	opts := []jetstream.FetchOpt{jetstream.FetchMaxWait(wait)}
	if wait >= 2*time.Second {
		opts = append(opts, jetstream.FetchHeartbeat(time.Second))
	}
	got, err := q.collect(q.c.Fetch(1, opts...))
	if err != nil || len(got) == 0 || n == 1 {
		return got, err
	}
	more, err := q.waiting(n - 1)
	return append(got, more...), err
}

// fetchBytes is how many bytes of messages one fetch brings, and one message
// more: a publisher may send any number of the largest that the broker takes.
const fetchBytes = 16 << 20

// waiting returns what is there now, at most n messages, in portions that are no
// larger than fetchBytes even if all of their messages are as large as can be.
func (q *queue) waiting(n int) ([]consumer.Message, error) {
	portion := max(1, fetchBytes/max(1, int(q.b.nc.MaxPayload())))
	var all []consumer.Message
	for bytes := 0; n > 0 && bytes < fetchBytes; {
		asked := min(n, portion)
		got, err := q.collect(q.c.FetchNoWait(asked))
		all = append(all, got...)
		if err != nil || len(got) < asked {
			return all, err
		}
		for _, m := range got {
			bytes += len(m.Data())
		}
		n -= asked
	}
	return all, nil
}

// collect reads one fetch to its end.
func (q *queue) collect(batch jetstream.MessageBatch, err error) ([]consumer.Message, error) {
	var got []consumer.Message
	if err == nil {
		for m := range batch.Messages() {
			got = append(got, newMessage(q, m))
		}
		err = batch.Error()
	}
	if err == nil {
		return got, nil
	}
	q.repair(err)
	return got, fmt.Errorf("fetch for %s: %w", q.cfg.Durable, err)
}

// repair creates the consumer again if somebody has removed it: the next fetch
// works.
func (q *queue) repair(err error) {
	if !errors.Is(err, jetstream.ErrConsumerDeleted) && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, nats.ErrNoResponders) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), attempt)
	defer cancel()
	if _, err := q.b.js.CreateOrUpdateConsumer(ctx, q.stream, q.cfg); err != nil {
		q.b.lg.Warn().Err(err).Str("consumer", q.cfg.Durable).Msg("consumer cannot be created again")
	}
}

// delivered is what a message is made of: a jetstream.Msg, or a delivery.
type delivered interface {
	Metadata() (*jetstream.MsgMetadata, error)
	Subject() string
	Reply() string
	Headers() nats.Header
	Data() []byte
}

// message implements consumer.Message.
type message struct {
	q      *queue
	m      delivered
	origin consumer.Origin
}

func newMessage(q *queue, m delivered) *message {
	origin := consumer.Origin{Stream: q.stream, StreamAge: q.created, High: q.high}
	if meta, err := m.Metadata(); err == nil {
		origin.Sequence, origin.Published = meta.Sequence.Stream, meta.Timestamp
	}
	if q.own {
		origin.Intent = m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]
		origin.Replay = replayOf(m.Headers())
	}
	return &message{q: q, m: m, origin: origin}
}

// Headers of a replay.
const (
	headerReplay = "Weir-Replay"
	headerBy     = "Weir-By"
	headerReason = "Weir-Reason"
	headerGiven  = "Weir-Given" // when, of an order that was put off
)

// replayOf reads a person's order to send again; nil if there is none.
func replayOf(h nats.Header) *consumer.Replay {
	expect, err := strconv.Atoi(h.Get(headerReplay))
	if err != nil {
		return nil
	}
	at, _ := time.Parse(time.RFC3339Nano, h.Get(headerGiven)) // zero: with its message
	return &consumer.Replay{Expect: expect, By: unescape(h.Get(headerBy)), Reason: unescape(h.Get(headerReason)), At: at}
}

// unescape decodes percent-encoding, as far as it is one.
func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// Header implements consumer.Message.
func (m *message) Header() map[string][]string { return cloneHeader(m.m.Headers()) }

func cloneHeader(h map[string][]string) map[string][]string {
	out := maps.Clone(h)
	for name, values := range out {
		out[name] = slices.Clone(values)
	}
	return out
}

// Data implements consumer.Message.
func (m *message) Data() []byte { return m.m.Data() }

// Origin implements consumer.Message.
func (m *message) Origin() consumer.Origin { return m.origin }

// The words of JetStream's protocol that end or prolong a delivery. They are
// published to the delivery's reply subject, because the client's own methods
// refuse a second word, and a Nak may be followed by another.
const (
	wordAck      = "+ACK"
	wordNak      = "-NAK"
	wordProgress = "+WPI"
)

const (
	ackTimeout = 2 * time.Second
	maxDelay   = 24 * time.Hour
)

// Ack implements consumer.Message. It asks twice, for 2 s each: a broker that
// has lost the delivery never answers.
func (m *message) Ack(ctx context.Context) error {
	var err error
	for range 2 {
		if err = m.ackOnce(ctx); err == nil {
			return nil
		}
	}
	return fmt.Errorf("ack: %w", err)
}

func (m *message) ackOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	_, err := m.q.b.nc.RequestWithContext(ctx, m.m.Reply(), []byte(wordAck))
	return err
}

// Nak implements consumer.Message. A delay above 24 hours is 24 hours.
func (m *message) Nak(delay time.Duration) error {
	word := wordNak
	if delay > 0 {
		word = fmt.Sprintf(`%s {"delay": %d}`, wordNak, min(delay, maxDelay).Nanoseconds())
	}
	return m.say("nak", word)
}

// Progress implements consumer.Message. Said after a Nak it would undo the
// Nak's delay.
func (m *message) Progress() error { return m.say("progress", wordProgress) }

func (m *message) say(what, word string) error {
	if err := m.q.b.nc.Publish(m.m.Reply(), []byte(word)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
