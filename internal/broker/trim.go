package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Trim removes what a lane has done with from the streams, which never drop
// anything themselves: events that are older than keep, or all that are done
// once half of the lane's quota or of the stream's room is used; and schedules
// and replays that are done. A message counts as done if it and all before it on
// its subject were acknowledged: where nobody consumes it, none.
func (b *Broker) Trim(ctx context.Context, lane string, keep time.Duration) error {
	if err := checkLane(lane); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	before := time.Now().Add(-keep)
	for _, plan := range b.lanePlans(lane) {
		since := before
		if plan.own {
			since = time.Time{}
		}
		if err := b.trim(ctx, plan.stream, plan.cfg.Durable, plan.cfg.FilterSubject, since); err != nil {
			return fmt.Errorf("trim %s: %w", plan.cfg.FilterSubject, err)
		}
	}
	return nil
}

// trim purges a subject up to the consumer's ack floor, as far as it is older
// than before; a zero time is no limit.
func (b *Broker) trim(ctx context.Context, stream, consumer, subject string, before time.Time) error {
	c, err := b.js.Consumer(ctx, stream, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	end := c.CachedInfo().AckFloor.Stream + 1 // the first that is not done
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return err
	}
	if !before.IsZero() && !halfUsed(info, subject) {
		if end, err = b.firstSince(ctx, s, subject, end, before); err != nil {
			return err
		}
	}
	if end <= max(info.State.FirstSeq, 1) || info.State.NumSubjects == 0 {
		return nil
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(end))
}

// halfUsed reports whether half of the stream's room, or of the subject's
// quota, is used.
func halfUsed(info *jetstream.StreamInfo, subject string) bool {
	used := func(n uint64, limit int64) bool { return limit > 0 && n >= uint64(limit)/2 }
	return used(info.State.Bytes, info.Config.MaxBytes) || used(info.State.Subjects[subject], info.Config.MaxMsgsPerSubject)
}

// firstSince finds the first sequence below end from which on the subject's
// messages are not older than since, by bisection.
func (b *Broker) firstSince(ctx context.Context, s jetstream.Stream, subject string, end uint64, since time.Time) (uint64, error) {
	low := uint64(1)
	for low < end {
		middle := low + (end-low)/2
		m, err := s.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			end = middle
		case err != nil:
			return 0, err
		case m.Time.Before(since):
			low = min(m.Sequence+1, end)
		default:
			end = middle
		}
	}
	return end, nil
}
