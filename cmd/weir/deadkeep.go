package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// mostOld is how many dead letters of a lane are dropped at a time.
const mostOld = 1000

// dropOld drops the dead letters of a lane that are older than dead.keep, in nobody's
// name but the file's, as weir dead drop does: by the lane's owner, guarded by the
// step at which the letter was seen. So a crash at any step leaves what a drop leaves,
// and the next time finds the rest. Doubts are never dropped; nor is what a person has
// ordered to be sent again.
func (s *service) dropOld(ctx context.Context, lane string, now time.Time) error {
	keep := s.cfg.Dead.Keep
	if keep == 0 {
		return nil
	}
	var errs []error
	dropped, failed := 0, 0
	for l, err := range s.broker.OldLetters(ctx, lane, now.Add(-keep)) {
		done := false
		if err == nil {
			done, err = s.dropOne(ctx, l, keep)
		}
		if done {
			dropped++
		}
		if errors.Is(err, broker.ErrNoOwner) || ctx.Err() != nil {
			break // nobody can drop it now
		}
		if err != nil {
			failed++
			errs = append(errs[:min(len(errs), 2)], err) // the first two, and the last
		}
		if dropped+failed == mostOld || errors.Is(err, context.DeadlineExceeded) { // each would wait as long
			break
		}
	}
	if dropped > 0 {
		s.lg.Info().Str("lane", lane).Int("letters", dropped).Msg("old dead letters dropped")
	}
	if failed > 0 {
		return fmt.Errorf("%d old dead letters were not dropped: %w", failed, errors.Join(errs...))
	}
	return nil
}

// dropOne drops one old letter, and reports whether it did. A copy that has outlived
// its event's end is removed.
func (s *service) dropOne(ctx context.Context, l consumer.Letter, keep time.Duration) (bool, error) {
	now, _, err := s.ledger.Load(ctx, l.Lane, l.Intent)
	if err != nil {
		return false, err
	}
	switch now.State {
	case consumer.Created, consumer.Ended, consumer.Cancelled, consumer.Expired, consumer.Suppressed:
		return false, s.broker.Discard(ctx, l.Lane, l.Intent)
	case consumer.Dead:
	default:
		return false, nil
	}
	o, err := s.broker.Ordered(ctx, l.Lane, l.Intent)
	if err != nil || l.N != now.N || o != nil && o.Expect == now.N {
		return false, err
	}
	request, err := json.Marshal(consumer.Command{
		Verb: consumer.VerbDrop, Intent: l.Intent, Expect: now.N,
		By: "weir", Reason: fmt.Sprintf("it was a dead letter for longer than dead.keep (%v)", keep),
	})
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	answer, err := s.broker.Control(ctx, l.Lane, request)
	if err != nil {
		return false, err
	}
	var reply consumer.Reply
	if err := json.Unmarshal(answer, &reply); err != nil {
		return false, err
	}
	if reply.Error != "" {
		return false, fmt.Errorf("%s: %s", l.Intent, reply.Error)
	}
	return true, nil
}
