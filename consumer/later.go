package consumer

import (
	"context"
	"errors"
	"time"
)

// An event that has to wait for long is postponed (H4): the ledger says so and
// where its event can be found, then the broker is told to keep it and to
// deliver it again at its time, and only then is its message acknowledged. A
// crash between any two leaves the message, whose redelivery repeats the rest.
// The sweep looks for events whose time passed and that did not come.

// postpone hands an event to the broker until its time, and acknowledges its
// message. One that expires before that comes when it does, to be told of.
func (ln *lane) postpone(ctx context.Context, m Message, in Intent, rev uint64, life lifetime) {
	at := earlier(ln.e.delivery(ln.left(in, rev)), life.until)
	ln.waits.postponed(in)
	ln.keepUntil(ctx, m, Postponed{
		Lane: in.Lane, Intent: in.Key, N: in.N, At: at, Header: m.Header(), Data: m.Data(),
	})
}

// keepUntil is postpone for whatever waits.
func (ln *lane) keepUntil(ctx context.Context, m Message, p Postponed) {
	if err := ln.e.cfg.Outbox.Postpone(ctx, p); err != nil {
		ln.lg.Warn().Err(err).Str("intent", p.Intent).Msg("postpone")
		ln.hitched(err)
		ln.waits.put(m, CauseBroker)
		ln.giveBack(m, time.Minute, false)
		return
	}
	if err := m.Ack(context.WithoutCancel(ctx)); err != nil {
		ln.lg.Warn().Err(err).Str("intent", p.Intent).Msg("ack")
	}
}

const (
	sweepEvery = time.Hour
	overdue    = 10 * time.Minute
	// sweepBack is how far back the sweep reads the ledger: longer than an event
	// that is done stays in its stream, after which it could not be restored.
	sweepBack = 8 * 24 * time.Hour
)

// sweep restores postponed events that did not come at their time, and finds the
// conversations that nobody here asks for, and tells what is still to be told. It is
// done at once and then every hour.
func (a *account) sweep(ctx context.Context) {
	for _, ln := range a.lanes {
		if err := ln.sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			ln.lg.Warn().Err(err).Msg("sweep")
		}
	}
}

func (ln *lane) sweep(ctx context.Context, now time.Time) error {
	var errs []error
	later := make(map[string]int)
	for entry, err := range ln.e.cfg.Ledger.Scan(ctx, ln.cfg.Name, ln.e.earliest(now).Add(-sweepBack)) {
		if errors.Is(err, ErrStrange) {
			continue // said at the start
		}
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if entry.Intent.postponed() {
			later[causeOf(entry.Intent)]++
		}
		switch in := entry.Intent; {
		case in.State == Waiting && in.Later && now.Sub(in.NotBefore) > overdue:
			errs = append(errs, ln.restore(ctx, in))
		case in.State == Created && now.Sub(in.Claimed) < ln.a.cfg.MaxCall+lateEnds:
			if ln.a.discover(ln, in) {
				ln.retell(ctx, []Intent{in})
			}
		case in.State == Cancelled && ln.isUntold(in.Key):
			ln.repeat(ctx, []Intent{in})
		}
	}
	ln.waits.recount(later)
	return errors.Join(errs...)
}

// restore brings an overdue event back, if it is really not there.
func (ln *lane) restore(ctx context.Context, in Intent) error {
	kept, err := ln.e.cfg.Outbox.Kept(ctx, in.Lane, in.Key)
	if err != nil || kept {
		return err
	}
	err = ErrGone
	if in.Sequence != 0 && in.Former == "" { // the stream has it as it was before a person corrected it
		err = ln.e.cfg.Outbox.Restore(ctx, in.Lane, in.Key, in.Sequence)
	}
	if errors.Is(err, ErrGone) {
		ln.lg.Error().Str("intent", in.Key).Str("event_id", in.ID).Msg("a postponed event is lost: publish it again")
		return nil
	}
	if err == nil {
		ln.lg.Error().Str("intent", in.Key).Str("event_id", in.ID).Msg("a postponed event did not come at its time and was restored")
	}
	return err
}
