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
	"github.com/weirhq/weir/schema"
)

// Found is an event where it lies.
type Found struct {
	Sequence uint64    // in its stream
	Since    time.Time // by the broker's clock
	High     bool      // it goes before the lane's other events
	Due      time.Time // of a schedule: when it fires
	Intent   string    // where Weir itself addressed it; else empty
	Order    *Order    // a person's, to send it again; else nil
	Header   map[string][]string
	Data     []byte

	id string // of the message
}

func newFound(m *jetstream.RawStreamMsg) Found {
	f := Found{Sequence: m.Sequence, Since: m.Time, Header: foreign(m.Header), Data: m.Data, id: m.Header.Get(nats.MsgIdHdr)}
	f.High = strings.HasPrefix(m.Subject, "weir.events.") && strings.HasSuffix(m.Subject, ".high")
	if at, ok := strings.CutPrefix(m.Header.Get(headerSchedule), "@at "); ok {
		f.Due, _ = time.Parse(time.RFC3339Nano, at) // zero if somebody else wrote it
	}
	return f
}

// Is reports whether the event is an intent's.
func (f Found) Is(lane, intent string) bool {
	if strings.HasPrefix(f.id, intent+".") {
		return true
	}
	ev, err := schema.Decode(f.Header, f.Data, 0)
	return err == nil && consumer.Key(lane, ev.Source(), ev.ID()) == intent
}

// EventAt returns the event at a sequence of WEIR_EVENTS; consumer.ErrGone if the
// lane has none there.
func (b *Broker) EventAt(ctx context.Context, lane string, sequence uint64) (Found, error) {
	if err := checkLane(lane); err != nil {
		return Found{}, fmt.Errorf("look at an event: %w", err)
	}
	s, err := b.stream(ctx, StreamEvents)
	if err != nil {
		return Found{}, fmt.Errorf("look at an event: %w", err)
	}
	var m *jetstream.RawStreamMsg
	err = retry(ctx, budget, func(ctx context.Context) (err error) {
		if sequence == 0 { // the broker answers no such question
			return nil
		}
		m, err = s.GetMsg(ctx, sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			m, err = nil, nil
		}
		return err
	})
	switch {
	case err != nil:
		return Found{}, fmt.Errorf("look at an event: %w", err)
	case m == nil, m.Subject != eventsSubject(lane) && m.Subject != highSubject(lane):
		return Found{}, fmt.Errorf("sequence %d of lane %s: %w", sequence, lane, consumer.ErrGone)
	}
	return newFound(m), nil
}

// Queued returns an intent's event that lies at a sequence of a lane, whether it was
// taken from there or not; consumer.ErrGone where it does not.
func (b *Broker) Queued(ctx context.Context, lane, intent string, sequence uint64) (Found, error) {
	if err := checkIntent(lane, intent); err != nil {
		return Found{}, fmt.Errorf("look for a queued event: %w", err)
	}
	f, err := b.EventAt(ctx, lane, sequence)
	if err == nil && !strings.HasPrefix(f.id, intent+".") {
		err = fmt.Errorf("event %s at sequence %d: %w", intent, sequence, consumer.ErrGone)
	}
	return f, err
}

// Seek looks for an intent's event among those of a lane that are not done. It
// reads one after the other, until ctx ends; consumer.ErrGone: none of them is it.
func (b *Broker) Seek(ctx context.Context, lane, intent string) (Found, error) {
	if err := checkIntent(lane, intent); err != nil {
		return Found{}, fmt.Errorf("seek an event: %w", err)
	}
	floors, err := b.Floors(ctx, lane)
	if err != nil {
		return Found{}, fmt.Errorf("seek an event: %w", err)
	}
	for _, subject := range []string{highSubject(lane), eventsSubject(lane)} {
		for m, err := range b.walk(ctx, StreamEvents, subject, floors[subject]+1) {
			if err != nil {
				return Found{}, fmt.Errorf("seek an event: %w", err)
			}
			if f := newFound(m); f.Is(lane, intent) {
				return f, nil
			}
		}
	}
	return Found{}, fmt.Errorf("event %s: %w", intent, consumer.ErrGone)
}

// Scheduled returns an intent's event that waits for its time in WEIR_LATER;
// consumer.ErrGone if none does.
func (b *Broker) Scheduled(ctx context.Context, lane, intent string) (Found, error) {
	if err := checkIntent(lane, intent); err != nil {
		return Found{}, fmt.Errorf("look for a postponed event: %w", err)
	}
	m, err := b.last(ctx, StreamLater, "weir.later."+lane+"."+intent)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Found{}, fmt.Errorf("schedule of %s: %w", intent, consumer.ErrGone)
	case err != nil:
		return Found{}, fmt.Errorf("look for a postponed event: %w", err)
	}
	return newFound(m), nil
}

// Told is an outcome as it was published.
type Told struct {
	Kind     string    `json:"kind"`
	ID       string    `json:"id"`
	At       time.Time `json:"at"` // when the broker had it
	Sequence uint64    `json:"sequence"`
}

// mostTold is how many outcomes of a lane are looked through for those of one event.
const mostTold = 20_000

// ErrMany is a search that was given up, for there is too much to look through.
var ErrMany = errors.New("there are too many to look through")

// Outcomes returns an intent's outcomes that were published since then, the oldest
// first. They are found among all of the lane's; with ErrMany not all were looked
// through.
func (b *Broker) Outcomes(ctx context.Context, lane, intent string, since time.Time) ([]Told, error) {
	if err := checkIntent(lane, intent); err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	c, err := b.js.OrderedConsumer(ctx, StreamOutcomes, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"weir.outcomes." + lane + ".>"},
		DeliverPolicy:  jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
	})
	if err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	var told []Told
	left := info.NumPending
	for n := 0; left > 0; {
		batch, err := c.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(time.Second)) // more would wait for what is not there
		if err != nil {
			return told, fmt.Errorf("outcomes: %w", err)
		}
		for m := range batch.Messages() {
			at, err := m.Metadata()
			if err != nil {
				return told, fmt.Errorf("outcomes: %w", err)
			}
			if t, ours := newTold(m, at, intent); ours {
				told = append(told, t)
			}
			n, left = n+1, at.NumPending
		}
		switch err := errors.Join(batch.Error(), ctx.Err()); {
		case err != nil:
			return told, fmt.Errorf("outcomes: %w", err)
		case left > 0 && n >= mostTold:
			return told, fmt.Errorf("outcomes of lane %s: %w", lane, ErrMany)
		}
	}
	return told, nil
}

// newTold reads an outcome, and reports whether it is the intent's.
func newTold(m jetstream.Msg, at *jetstream.MsgMetadata, intent string) (Told, bool) {
	var ev struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		Data struct {
			Intent string `json:"intent"`
		} `json:"data"`
	}
	if json.Unmarshal(m.Data(), &ev) != nil || ev.Data.Intent != intent {
		return Told{}, false
	}
	return Told{
		Kind: strings.TrimPrefix(ev.Type, consumer.OutcomePrefix), ID: ev.ID, At: at.Timestamp, Sequence: at.Sequence.Stream,
	}, true
}
