package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Connection tells whether there is a connection at this moment, and how often it
// was made again. It asks nobody.
func (b *Broker) Connection() (connected bool, again uint64) {
	return b.nc.IsConnected(), b.nc.Stats().Reconnects
}

// RoundTrip is how long the server takes to answer.
func (b *Broker) RoundTrip(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := once(ctx, func(ctx context.Context) error { return b.nc.FlushWithContext(ctx) })
	if err != nil {
		return 0, fmt.Errorf("round trip to the broker: %w", err)
	}
	return time.Since(began), nil
}

// Oldest returns when the oldest event of a lane was published that is not done, by
// the broker's clock; zero if all are. What is postponed does not count. Of a lane
// that never ran it is the oldest of all.
func (b *Broker) Oldest(ctx context.Context, lane string) (oldest time.Time, err error) {
	floors, err := b.Floors(ctx, lane)
	if err != nil {
		return time.Time{}, err
	}
	for _, subject := range []string{highSubject(lane), eventsSubject(lane)} {
		m, err := b.next(ctx, StreamEvents, subject, floors[subject]+1)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("oldest event of lane %s: %w", lane, err)
		}
		if oldest.IsZero() || m.Time.Before(oldest) {
			oldest = m.Time
		}
	}
	return oldest, nil
}

// LetterCount is how many dead letters and doubts are kept, by lane, as of a state of
// their stream.
type LetterCount struct {
	Dead, Doubts map[string]int

	last, first, messages uint64
	deleted               int
}

// CountLetters counts the copies that are kept; anew only if one came or went since
// an earlier count. A copy may outlive its event's end.
func (b *Broker) CountLetters(ctx context.Context, earlier *LetterCount) (*LetterCount, error) {
	s, err := b.stream(ctx, StreamDead)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("count letters: %w", err)
	}
	now := &LetterCount{
		Dead: make(map[string]int), Doubts: make(map[string]int),
		last: info.State.LastSeq, first: info.State.FirstSeq, messages: info.State.Msgs, deleted: info.State.NumDeleted,
	}
	if earlier != nil && earlier.last == now.last && earlier.first == now.first && earlier.messages == now.messages && earlier.deleted == now.deleted {
		return earlier, nil
	}
	if now.messages == 0 {
		return now, nil
	}
	info, err = s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, fmt.Errorf("count letters: %w", err)
	}
	for subject := range info.State.Subjects {
		parts := strings.SplitN(subject, ".", 4)
		if len(parts) != 4 {
			continue
		}
		switch parts[1] {
		case "dead":
			now.Dead[parts[2]]++
		case "doubt":
			now.Doubts[parts[2]]++
		}
	}
	return now, nil
}

// Fills tells how full each of the streams is that are there.
func (b *Broker) Fills(ctx context.Context, streams []string) (map[string]Fill, error) {
	fills := make(map[string]Fill)
	var errs []error
	for _, name := range streams {
		fill, err := b.Fill(ctx, name)
		switch {
		case err == nil:
			fills[name] = fill
		case !errors.Is(err, jetstream.ErrStreamNotFound): // some are made when they are needed
			errs = append(errs, err)
		}
	}
	return fills, errors.Join(errs...)
}
