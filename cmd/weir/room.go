package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
)

// Shares of a stream's room, in percent. Above softLimit nothing new is begun:
// the tenth that is left is for what is under way, whose entries grow and whose
// letters must be kept. Above nearLimit the room is looked at more often.
const (
	softLimit = 90
	nearLimit = 75
)

// How often the room is looked at. A broker stores some two thousand entries of
// 1 KiB a second at most, so that the smallest ledger, of 50 MiB, needs 5 s from
// near to soft.
const (
	roomPoll = 5 * time.Second
	nearPoll = time.Second
)

// vital are the streams without whose room an event cannot come to its end, with
// what an operator can do for them.
var vital = map[string]string{
	ledger.Stream:     "raise the stream's max_bytes",
	broker.StreamDead: "send dead letters again or drop them (weir dead list), settle doubts (weir doubt list), or raise the stream's max_bytes",
}

// room knows whether the streams have room for new events. Its watch alone
// writes.
type room struct {
	shortage atomic.Pointer[error] // nil: there is room
}

// lacking returns what an operator must hear of the room, nil if there is enough.
func (r *room) lacking() error {
	if err := r.shortage.Load(); err != nil {
		return *err
	}
	return nil
}

// look looks at the vital streams, and returns when to look again. What the
// broker does not tell stays as it was.
func (s *service) look(ctx context.Context) time.Duration {
	next := roomPoll
	var errs []error
	for _, stream := range []string{ledger.Stream, broker.StreamDead} {
		fill, err := s.broker.Fill(ctx, stream)
		if err != nil {
			if ctx.Err() == nil {
				s.lg.Warn().Err(err).Msg("the room of the streams is not known")
			}
			return nearPoll
		}
		if fill.Above(nearLimit) {
			next = nearPoll
		}
		if fill.Above(softLimit) {
			errs = append(errs, fmt.Errorf("no new event is begun, because %s has used %v: %s", stream, fill, vital[stream]))
		}
	}
	before, err := s.room.lacking(), errors.Join(errs...)
	switch {
	case err == nil && before != nil:
		s.lg.Info().Msg("there is room for new events again")
		s.room.shortage.Store(nil)
	case err != nil:
		if before == nil {
			s.lg.Error().Err(err).Msg("no room for new events")
		}
		s.room.shortage.Store(&err)
	}
	return next
}

// watchRoom looks at the room until ctx ends.
func (s *service) watchRoom(ctx context.Context) error {
	for {
		timer := time.NewTimer(s.look(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
