package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// deliveryPrefix begins the keys of WEIR_LANES that say how far the delivery of a
// lane's outcomes is (see internal/delivery).
const deliveryPrefix = "delivery."

func outcomesSubject(lane, kind string) string { return "weir.outcomes." + lane + "." + kind }

// StoredOutcome is an outcome as it lies in WEIR_OUTCOMES.
type StoredOutcome struct {
	Sequence  uint64
	Published time.Time
	Kind      string // the last word of its subject
	Body      []byte // a CloudEvent as JSON
}

// OutcomesEnd tells when WEIR_OUTCOMES was made, and its last sequence.
func (b *Broker) OutcomesEnd(ctx context.Context) (created time.Time, last uint64, err error) {
	err = retry(ctx, budget, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, StreamOutcomes)
		if err == nil {
			created, last = s.CachedInfo().Created, s.CachedInfo().State.LastSeq
		}
		return err
	})
	if err != nil {
		return created, last, fmt.Errorf("stream %s: %w", StreamOutcomes, err)
	}
	return created, last, nil
}

// NextOutcome returns a lane's first outcome at or behind a sequence, nil if there is
// none.
func (b *Broker) NextOutcome(ctx context.Context, lane string, from uint64) (*StoredOutcome, error) {
	if err := checkLane(lane); err != nil {
		return nil, fmt.Errorf("next outcome: %w", err)
	}
	m, err := b.next(ctx, StreamOutcomes, outcomesSubject(lane, "*"), from)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("next outcome of lane %s: %w", lane, err)
	}
	return &StoredOutcome{
		Sequence: m.Sequence, Published: m.Time, Kind: m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], Body: m.Data,
	}, nil
}

// OutcomesBehind counts a lane's outcomes of these kinds, nil for all, behind a
// sequence.
func (b *Broker) OutcomesBehind(ctx context.Context, lane string, kinds []string, sequence uint64) (uint64, error) {
	if err := checkLane(lane); err != nil {
		return 0, fmt.Errorf("count outcomes: %w", err)
	}
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: sequence + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * time.Second,
	}
	for _, kind := range kinds {
		cfg.FilterSubjects = append(cfg.FilterSubjects, outcomesSubject(lane, kind))
	}
	if kinds == nil {
		cfg.FilterSubject = outcomesSubject(lane, "*")
	}
	c, err := b.js.CreateConsumer(ctx, StreamOutcomes, cfg)
	if err != nil {
		return 0, fmt.Errorf("count outcomes of lane %s: %w", lane, err)
	}
	_ = b.js.DeleteConsumer(ctx, StreamOutcomes, c.CachedInfo().Name) // else it goes by itself
	return c.CachedInfo().NumPending, nil
}

// NewOutcomes returns a channel that says when a lane may have a new outcome, and
// what ends that. It may say so too often, and, while the broker is away, not at all.
func (b *Broker) NewOutcomes(lane string) (news <-chan struct{}, stop func()) {
	heard := make(chan struct{}, 1)
	sub, err := b.nc.Subscribe(outcomesSubject(lane, "*"), func(*nats.Msg) {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return heard, func() {}
	}
	return heard, func() { _ = sub.Unsubscribe() }
}

// Delivery returns how far the delivery of a lane's outcomes is, nil if it was never
// begun, and its revision.
func (b *Broker) Delivery(ctx context.Context, lane string) (data []byte, revision uint64, err error) {
	return b.Key(ctx, deliveryPrefix+lane)
}

// StoreDelivery stores it if the stored one still has the revision, and
// consumer.ErrConflict if not. After any other error it may yet be stored.
func (b *Broker) StoreDelivery(ctx context.Context, lane string, data []byte, revision uint64) (uint64, error) {
	return b.WriteKey(ctx, deliveryPrefix+lane, data, revision, 0)
}

// Deliveries are the lanes whose outcomes were ever delivered.
func (b *Broker) Deliveries(ctx context.Context) (lanes []string, err error) {
	err = b.Keys(ctx, deliveryPrefix, 0, func(key string, _ uint64, data []byte, _ bool, _ time.Time) {
		if data != nil {
			lanes = append(lanes, strings.TrimPrefix(key, deliveryPrefix))
		}
	})
	return lanes, err
}
