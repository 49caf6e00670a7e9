package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// Headers of a schedule. The client's own helper writes the time in whole
// seconds, and such a schedule fires up to a second early.
const (
	headerSchedule = "Nats-Schedule"
	headerTarget   = "Nats-Schedule-Target"
)

// Postpone implements consumer.Outbox. The event becomes a schedule on
// weir.later.<lane>.<intent>, which takes the place of an earlier one and fires
// into weir.due.<lane>.<intent>, with the person's order if it is one. ErrFull: the stream holds as much as it may
// (Room.Later). The server cannot guard that: a stream of schedules that is full
// drops what was confirmed (H4).
func (b *Broker) Postpone(ctx context.Context, p consumer.Postponed) error {
	if err := checkIntent(p.Lane, p.Intent); err != nil {
		return fmt.Errorf("postpone: %w", err)
	}
	if err := b.postpone(ctx, p); err != nil {
		return fmt.Errorf("postpone %s: %w", p.Intent, err)
	}
	return nil
}

func (b *Broker) postpone(ctx context.Context, p consumer.Postponed) error {
	s, err := b.stream(ctx, StreamLater)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	if info.State.Bytes+uint64(len(p.Data)) > uint64(b.cfg.Room.Later) { //nolint:gosec // above 0, by default
		return fmt.Errorf("%s: %w", StreamLater, ErrFull)
	}
	subject := laterSubject(p.Lane, p.Intent)
	id := p.Intent + "." + strconv.Itoa(p.N)
	if p.Replay != nil { // an entry is not written for each wait of an order
		id += ".r." + strconv.FormatInt(p.At.UnixNano(), 10)
	}
	m := newMsg(subject, id, foreign(p.Header), p.Data)
	if p.Replay != nil {
		setReplay(m.Header, *p.Replay)
		if corrected := p.Header[headerCorrected]; len(corrected) == 1 {
			m.Header.Set(headerCorrected, corrected[0])
		}
	}
	m.Header.Set(headerSchedule, "@at "+p.At.UTC().Format(time.RFC3339Nano))
	m.Header.Set(headerTarget, "weir.due."+p.Lane+"."+p.Intent)
	ack, err := b.publish(ctx, StreamLater, m)
	if err != nil || !ack.Duplicate {
		return err
	}
	// That it was confirmed once is no proof that it is still there (H7).
	if _, err = s.GetLastMsgForSubject(ctx, subject); errors.Is(err, jetstream.ErrMsgNotFound) {
		return errors.New("the broker takes it for one that has fired")
	}
	return err
}

func laterSubject(lane, intent string) string { return "weir.later." + lane + "." + intent }

// Kept implements consumer.Outbox.
func (b *Broker) Kept(ctx context.Context, lane, intent string) (bool, error) {
	if err := checkIntent(lane, intent); err != nil {
		return false, fmt.Errorf("look for a postponed event: %w", err)
	}
	s, err := b.stream(ctx, StreamLater)
	if err != nil {
		return false, err
	}
	_, err = s.GetLastMsgForSubject(ctx, laterSubject(lane, intent))
	if err == nil || !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err == nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, "weir.due."+lane+"."+intent)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c, err := b.js.Consumer(ctx, StreamLater, dueConsumer(lane))
	if err != nil {
		return false, fmt.Errorf("look for a postponed event: %w", err)
	}
	return m.Sequence > c.CachedInfo().AckFloor.Stream, nil
}

// Restore implements consumer.Outbox.
func (b *Broker) Restore(ctx context.Context, lane, intent string, sequence uint64) error {
	if err := checkIntent(lane, intent); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	s, err := b.stream(ctx, StreamEvents)
	if err != nil {
		return err
	}
	m, err := s.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Subject != eventsSubject(lane) && m.Subject != highSubject(lane) {
		return fmt.Errorf("restore %s: %w", intent, consumer.ErrGone)
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", intent, err)
	}
	due := newMsg("weir.due."+lane+"."+intent, intent+".s."+uuid.NewString(), foreign(m.Header), m.Data)
	if _, err := b.publish(ctx, StreamLater, due); err != nil {
		return fmt.Errorf("restore %s: %w", intent, err)
	}
	return nil
}
