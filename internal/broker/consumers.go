package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// Settings of a lane's consumers.
const (
	maxAckPending = 10_000 // events given back with a delay count too
	maxWaiting    = 512    // open pulls of all replicas
)

// highMark ends the name of the consumer of a lane's events of high priority. No
// lane's name holds an underscore, so it is no other lane's.
const highMark = "_high"

func eventsSubject(lane string) string { return "weir.events." + lane }
func highSubject(lane string) string   { return "weir.events." + lane + ".high" }

func eventsConsumer(lane string) string { return "weir-" + lane }
func highConsumer(lane string) string   { return "weir-" + lane + highMark }
func dueConsumer(lane string) string    { return "weir-due-" + lane } // on a stream that has none but such

// Queues are a lane's: its events, of high priority and others, and what Weir
// itself addressed to it (fired schedules, replays).
type Queues struct {
	High, Events, Due consumer.Queue
}

// Lane returns a lane's queues. Their durable consumers, weir-<lane>_high,
// weir-<lane> and weir-due-<lane>, are created where they are missing and then
// start with the oldest message; the ledger knows what was done already. The
// streams must exist.
//
// weir-<lane> once took the events of both priorities. That of the high ones is
// made before it is narrowed, so that one of the two has each of them. What was
// delivered before and not acknowledged comes again from both.
func (b *Broker) Lane(ctx context.Context, lane string) (Queues, error) {
	if err := checkLane(lane); err != nil {
		return Queues{}, err
	}
	var made [3]*queue
	for i, plan := range b.lanePlans(lane) {
		var err error
		if made[i], err = b.queue(ctx, plan); err != nil {
			return Queues{}, fmt.Errorf("lane %s: %w", lane, err)
		}
	}
	return Queues{High: made[0], Events: made[1], Due: made[2]}, nil
}

// consumerPlan is a durable consumer as it must be, and its stream.
type consumerPlan struct {
	stream    string
	cfg       jetstream.ConsumerConfig
	high, own bool // see queue
}

// lanePlans are a lane's consumers, as Queues has them, in the order of their
// making.
func (b *Broker) lanePlans(lane string) [3]consumerPlan {
	return [3]consumerPlan{
		{stream: StreamEvents, cfg: b.consumerConfig(highConsumer(lane), highSubject(lane)), high: true},
		{stream: StreamEvents, cfg: b.consumerConfig(eventsConsumer(lane), eventsSubject(lane))},
		{stream: StreamLater, cfg: b.consumerConfig(dueConsumer(lane), "weir.due."+lane+".>"), own: true},
	}
}

func (b *Broker) consumerConfig(name, subject string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: subject,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       b.cfg.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
		MaxWaiting:    maxWaiting,
	}
}

// consumerInfo asks for a consumer; nil if there is none.
func (b *Broker) consumerInfo(ctx context.Context, stream, name string) (*jetstream.ConsumerInfo, error) {
	var c jetstream.Consumer
	err := retry(ctx, budget, func(ctx context.Context) error {
		var err error
		c, err = b.js.Consumer(ctx, stream, name)
		return err
	})
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.CachedInfo(), nil
}

// Backlog returns how many of a lane's messages have never been delivered, and
// how many were and are not done: being worked on, or waiting after a Nak. Of a
// lane that never ran it is jetstream.ErrConsumerNotFound.
func (b *Broker) Backlog(ctx context.Context, lane string) (pending, ackPending uint64, err error) {
	if err := checkLane(lane); err != nil {
		return 0, 0, err
	}
	for _, plan := range b.lanePlans(lane) {
		c, err := b.js.Consumer(ctx, plan.stream, plan.cfg.Durable)
		if plan.high && errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // the lane ran under an older Weir, and weir-<lane> has these events too
		}
		if err != nil {
			return 0, 0, fmt.Errorf("backlog of lane %s: %w", lane, err)
		}
		info := c.CachedInfo()
		pending += info.NumPending
		ackPending += uint64(max(0, info.NumAckPending))
	}
	return pending, ackPending, nil
}

// Floors returns of each subject of a lane's events the sequence in WEIR_EVENTS up
// to which everything there is acknowledged; of a lane that never ran nothing.
func (b *Broker) Floors(ctx context.Context, lane string) (map[string]uint64, error) {
	if err := checkLane(lane); err != nil {
		return nil, fmt.Errorf("floors: %w", err)
	}
	floors := make(map[string]uint64)
	for _, name := range []string{highConsumer(lane), eventsConsumer(lane)} {
		info, err := b.consumerInfo(ctx, StreamEvents, name)
		if err != nil {
			return nil, fmt.Errorf("floors of lane %s: %w", lane, err)
		}
		for _, subject := range []string{highSubject(lane), eventsSubject(lane)} {
			if info != nil && slices.Contains(filters(info.Config), subject) { // an older weir-<lane> has both
				floors[subject] = max(floors[subject], info.AckFloor.Stream)
			}
		}
	}
	return floors, nil
}

// Ran returns the lanes that have a consumer: those that ever ran.
func (b *Broker) Ran(ctx context.Context) ([]string, error) {
	s, err := b.stream(ctx, StreamEvents)
	if err != nil {
		return nil, err
	}
	var lanes []string
	names := s.ConsumerNames(ctx)
	for name := range names.Name() {
		lane, ok := strings.CutPrefix(strings.TrimSuffix(name, highMark), "weir-")
		if ok && checkLane(lane) == nil && !slices.Contains(lanes, lane) {
			lanes = append(lanes, lane)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("consumers of %s: %w", StreamEvents, err)
	}
	return lanes, nil
}
