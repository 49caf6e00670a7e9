package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// Bounds of an open pull. The broker says something each heartbeat, and a pull that
// has heard nothing for two of them is opened anew.
const (
	beatMost  = 5 * time.Second
	beatLeast = time.Second
)

// Await implements consumer.Queue. The pull is closed by taking the interest in its
// answers back: from then on the broker gives it nothing, and gives a message that it
// had just chosen for it to the next pull. What was sent before that comes before the
// broker's word for it. In a cluster, a message that is on its way from another server
// just then comes again after AckWait.
//
// It ends early, without a message, when the connection was lost: the request may be.
func (q *queue) Await(ctx context.Context, wait time.Duration) (consumer.Message, error) {
	m, err := q.await(ctx, wait)
	if m != nil {
		return newMessage(q, delivery{m}), nil
	}
	if err == nil || ctx.Err() != nil {
		return nil, nil
	}
	q.repair(err)
	return nil, fmt.Errorf("await for %s: %w", q.cfg.Durable, err)
}

func (q *queue) await(ctx context.Context, wait time.Duration) (*nats.Msg, error) {
	beat := max(min(wait/3, beatMost), beatLeast)
	request := map[string]any{"batch": 1, "expires": wait.Nanoseconds()}
	if wait > 2*beat {
		request["idle_heartbeat"] = beat.Nanoseconds()
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	again := q.b.reconnected() // before the request is made
	answers := make(chan *nats.Msg, 16)
	sub, err := q.b.nc.ChanSubscribe(q.b.nc.NewInbox(), answers)
	if err != nil {
		return nil, err
	}
	if err := q.b.nc.PublishRequest(q.next(), sub.Subject, body); err != nil {
		_ = sub.Unsubscribe() // of a connection that is down
		return nil, err
	}
	end := time.NewTimer(wait + beatLeast)
	defer end.Stop()
	silence := time.NewTimer(2*beat + beatLeast/2)
	defer silence.Stop()
	for {
		select {
		case m := <-answers:
			over, err := status(m)
			if over {
				_ = sub.Unsubscribe() // nothing else comes
				return taken(m), err
			}
			silence.Reset(2*beat + beatLeast/2)
		case <-silence.C:
			return q.drain(sub, answers, jetstream.ErrNoHeartbeat)
		case <-end.C:
			return q.drain(sub, answers, nil)
		case <-again:
			return q.drain(sub, answers, nil)
		case <-ctx.Done():
			return q.drain(sub, answers, nil)
		}
	}
}

// next is the subject of the consumer's pulls.
func (q *queue) next() string {
	prefix := "$JS.API."
	if q.b.cfg.Domain != "" {
		prefix = "$JS." + q.b.cfg.Domain + ".API."
	}
	return prefix + "CONSUMER.MSG.NEXT." + q.stream + "." + q.cfg.Durable
}

// drain closes a pull, and returns a message that was already on its way.
func (q *queue) drain(sub *nats.Subscription, answers <-chan *nats.Msg, why error) (*nats.Msg, error) {
	if err := q.b.leave(sub); err != nil {
		return nil, errors.Join(why, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), attempt)
	defer cancel()
	err := q.b.nc.FlushWithContext(ctx) // its answer comes after what was sent before
	if err != nil && why == nil && !errors.Is(err, nats.ErrConnectionReconnecting) {
		why = err
	}
	for {
		select {
		case m := <-answers:
			if taken(m) != nil {
				return m, nil
			}
		default:
			return nil, why
		}
	}
}

// leave takes a subscription back, of which what the broker sent before is still
// read. A client that drains while the connection is down tells the broker of the
// subscription when it is there again, and then of its end no more.
func (b *Broker) leave(sub *nats.Subscription) error {
	if b.nc.IsReconnecting() {
		return sub.Unsubscribe()
	}
	return sub.Drain()
}

// taken returns an answer that is a message of the queue, else nil.
func taken(m *nats.Msg) *nats.Msg {
	if m.Reply == "" || m.Header.Get("Status") != "" {
		return nil
	}
	return m
}

// status reports whether a pull is over with this answer, and why if that is not as
// it should be.
func status(m *nats.Msg) (over bool, err error) {
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case taken(m) != nil:
		return true, nil
	case code == "100":
		return false, nil
	case code == "408", code == "404" && strings.Contains(strings.ToLower(text), "no messages"):
		return true, nil // its time is up
	case code == "404":
		return true, jetstream.ErrConsumerNotFound
	case code == "503":
		return true, nats.ErrNoResponders
	case code == "409" && strings.Contains(strings.ToLower(text), "consumer deleted"):
		return true, jetstream.ErrConsumerDeleted
	case code == "409" && strings.Contains(strings.ToLower(text), "leadership change"):
		return true, nil // another server has it now
	default:
		return true, fmt.Errorf("the broker ended the pull: %s %s", code, text)
	}
}

// delivery is a message that came without a client of JetStream around it.
type delivery struct{ *nats.Msg }

func (d delivery) Subject() string      { return d.Msg.Subject }
func (d delivery) Reply() string        { return d.Msg.Reply }
func (d delivery) Data() []byte         { return d.Msg.Data }
func (d delivery) Headers() nats.Header { return d.Header }

// Metadata reads the same as the client's own.
func (d delivery) Metadata() (*jetstream.MsgMetadata, error) {
	m, err := d.Msg.Metadata()
	if err != nil {
		return nil, err
	}
	return &jetstream.MsgMetadata{
		Sequence: jetstream.SequencePair{Consumer: m.Sequence.Consumer, Stream: m.Sequence.Stream}, NumDelivered: m.NumDelivered,
		NumPending: m.NumPending, Timestamp: m.Timestamp, Stream: m.Stream, Consumer: m.Consumer, Domain: m.Domain,
	}, nil
}

// reconnected is closed when the connection is made again after now.
func (b *Broker) reconnected() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.again
}

// reconnect tells those who wait on reconnected.
func (b *Broker) reconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.again)
	b.again = make(chan struct{})
}
