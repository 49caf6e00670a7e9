package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Yard has the yardsticks, on a broker and a provider.
type Yard struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	client *http.Client
	url    string // of the requests
	write  Template
}

// NewYard returns the yardsticks on a connection to their broker. The provider's
// base is that of Weir's lanes, and requests are made on at most conns connections.
func NewYard(nc *nats.Conn, base string, conns int, write Template) (*Yard, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Yard{
		nc: nc, js: js, url: base + "/conversations", write: write,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns}, Timeout: time.Minute},
	}, nil
}

// Close ends the connections to the provider.
func (y *Yard) Close() { y.client.CloseIdleConnections() }

// Work is what one run of a yardstick has to do.
type Work struct {
	Lanes   []string
	Events  int // of all lanes together
	Batch   int // events in a request
	Workers int // requests at once of each lane
	Stream  string
	Subject func(lane string) string
}

// consumerOf names the consumer of the loop on a lane's events.
func consumerOf(lane string) string { return "bench-loop-" + lane }

// Loop fetches, asks and acknowledges the events that lie in the stream, and returns
// how long that took until the broker had all acknowledgements. It claims nothing,
// writes nothing down, and what a crash would leave is lost or called twice.
func (y *Yard) Loop(ctx context.Context, w Work) (time.Duration, error) {
	consumers := make([]jetstream.Consumer, len(w.Lanes))
	for i, lane := range w.Lanes {
		c, err := y.js.CreateOrUpdateConsumer(ctx, w.Stream, jetstream.ConsumerConfig{
			Durable: consumerOf(lane), FilterSubject: w.Subject(lane), AckPolicy: jetstream.AckExplicitPolicy,
			MaxAckPending: 10_000, MaxDeliver: -1, AckWait: time.Minute,
		})
		if err != nil {
			return 0, fmt.Errorf("loop: %w", err)
		}
		consumers[i] = c
	}
	began := time.Now()
	err := crew(len(w.Lanes)*w.Workers, func(worker int) error {
		return y.loop(ctx, consumers[worker%len(consumers)], w.Batch)
	})
	if err != nil {
		return 0, fmt.Errorf("loop: %w", err)
	}
	for _, c := range consumers {
		if err := Settled(ctx, c); err != nil {
			return 0, fmt.Errorf("loop: %w", err)
		}
	}
	return time.Since(began), nil
}

// look is the pause between two looks at a consumer, of which the broker notices
// little.
const look = 3 * time.Millisecond

// Settled waits until a consumer has nothing to deliver and nothing unacknowledged.
func Settled(ctx context.Context, c jetstream.Consumer) error {
	for {
		info, err := c.Info(ctx)
		if err != nil {
			return err
		}
		if info.NumPending == 0 && info.NumAckPending == 0 {
			return nil
		}
		if err := Pause(ctx, look); err != nil {
			return err
		}
	}
}

func (y *Yard) loop(ctx context.Context, c jetstream.Consumer, batch int) error {
	for ctx.Err() == nil {
		got, err := c.FetchNoWait(batch)
		if err != nil {
			return err
		}
		var msgs []jetstream.Msg
		var items []map[string]any
		for m := range got.Messages() {
			item, err := itemOf(m.Data())
			if err != nil {
				return err
			}
			msgs, items = append(msgs, m), append(items, item)
		}
		if err := got.Error(); err != nil {
			return err
		}
		if len(msgs) == 0 {
			return nil
		}
		body, err := json.Marshal(map[string]any{"conversations": items})
		if err != nil {
			return err
		}
		if err := y.post(ctx, body); err != nil {
			return err
		}
		for _, m := range msgs {
			if err := m.Ack(); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// itemOf is the item of a request that an event becomes.
func itemOf(event []byte) (map[string]any, error) {
	var ev struct {
		Data struct {
			ID    string `json:"id"`
			First string `json:"first_name"`
			Phone string `json:"phone"`
		} `json:"data"`
	}
	if err := json.Unmarshal(event, &ev); err != nil {
		return nil, err
	}
	return map[string]any{
		"agentId": Agent, "conversationType": "telephony", "toPhoneNumber": ev.Data.Phone,
		"dynamicVariables": map[string]string{"yard_event": ev.Data.ID, "firstName": ev.Data.First},
	}, nil
}

// Requests makes the requests for as many events, and returns how long that took.
func (y *Yard) Requests(ctx context.Context, w Work) (time.Duration, error) {
	var next atomic.Int64
	began := time.Now()
	err := crew(len(w.Lanes)*w.Workers, func(int) error {
		for {
			to := int(next.Add(int64(w.Batch)))
			from := to - w.Batch
			if from >= w.Events {
				return nil
			}
			if err := y.post(ctx, Request(from, min(to, w.Events), false)); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return 0, fmt.Errorf("requests: %w", err)
	}
	return time.Since(began), nil
}

func (y *Yard) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, y.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-api-key", "bench")
	req.Header.Set("x-workspace-id", "bench")
	resp, err := y.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the provider answers %d: %.200s", resp.StatusCode, answer)
	}
	return err
}

// Writes makes the writes of as many events, those of each event one after the other
// as Weir does, those of as many events at once as Weir may have under way. It
// returns how long that took.
func (y *Yard) Writes(ctx context.Context, w Work) (time.Duration, error) {
	var next atomic.Int64
	began := time.Now()
	err := crew(min(len(w.Lanes)*w.Workers*w.Batch, w.Events), func(worker int) error {
		lane := w.Lanes[worker%len(w.Lanes)]
		for next.Add(1) <= int64(w.Events) {
			if err := y.writes(ctx, lane); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("writes: %w", err)
	}
	return time.Since(began), nil
}

// writes makes those of one event.
func (y *Yard) writes(ctx context.Context, lane string) error {
	key := uuid.NewString()
	last := make(map[string]uint64) // sequence by subject
	for i := range y.write.Len() {
		m := y.write.message(i, lane, key, uuid.NewString(), "0")
		if seq := last[m.Subject]; seq != 0 {
			m.Header.Set(headerExpect, strconv.FormatUint(seq, 10))
		}
		ack, err := y.js.PublishMsg(ctx, m)
		if err != nil {
			return err
		}
		if ack.Duplicate {
			return errors.New("a write was taken for a repetition")
		}
		last[m.Subject] = ack.Sequence
	}
	return nil
}

// Pair makes one publish of an event and then one compare-and-set, the first write
// of the ledger, and returns how long each took.
func (y *Yard) Pair(ctx context.Context, subject string, event []byte) (publish, cas time.Duration, err error) {
	began := time.Now()
	if _, err := y.js.Publish(ctx, subject, event, jetstream.WithMsgID(uuid.NewString())); err != nil {
		return 0, 0, fmt.Errorf("publish: %w", err)
	}
	publish = time.Since(began)
	began = time.Now()
	if _, err := y.js.PublishMsg(ctx, y.write.message(0, "pair", uuid.NewString(), "", "0")); err != nil {
		return 0, 0, fmt.Errorf("compare-and-set: %w", err)
	}
	return publish, time.Since(began), nil
}

// Feed publishes the events with these numbers to the lanes in turn, many at once.
func Feed(ctx context.Context, js jetstream.JetStream, w Work, from, size int) error {
	var next atomic.Int64
	return crew(min(feeders, w.Events), func(int) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= w.Events {
				return nil
			}
			if _, err := js.Publish(ctx, w.Subject(w.Lanes[i%len(w.Lanes)]), Event(from+i, size)); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
	})
}

// feeders is how many events are published at once.
const feeders = 32

// crew runs workers and returns the first of their errors.
func crew(n int, work func(worker int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() { errs <- work(i) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Pause waits, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
