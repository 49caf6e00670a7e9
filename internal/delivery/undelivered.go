package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/weirhq/weir/consumer"
)

// undelivered is the copy of an outcome that is given up.
func undelivered(lane string, it *item, now time.Time) (Undelivered, error) {
	p, err := pack(it.body)
	if err != nil {
		return Undelivered{}, err
	}
	var about struct {
		ID     string `json:"event_id"`
		Source string `json:"event_source"`
	}
	_ = json.Unmarshal(p.body, &about) // what is not there stays empty
	return Undelivered{
		Lane: lane, ID: it.ID, Kind: it.kind, Intent: p.intent, EventID: about.ID, Source: about.Source,
		Published: it.Published, First: it.First, Last: now, Tries: it.Tries, Reason: cut(it.Reason), Body: it.body,
	}, nil
}

// obey begins the next try that a person ordered, one at a time. It waits for no
// pause: the person may know that the endpoint is well.
func (d *Deliverer) obey(ctx, sending context.Context) error {
	if d.ordering || time.Now().Before(d.ordersAt) {
		return nil
	}
	d.ordersAt = time.Now().Add(d.cfg.Poll)
	u, next, err := d.store.Ordered(ctx, d.cfg.Lane, d.orders)
	if err != nil {
		return err
	}
	d.orders = next
	if u == nil {
		return nil
	}
	p, err := pack(u.Body)
	if err != nil {
		d.lg.Error().Err(err).Str("outcome", u.ID).Msg("an outcome that was ordered again cannot be read")
		return nil
	}
	keys := d.signers()
	d.ordering = true
	d.out++
	go func() { d.answers <- answer{order: u, Verdict: d.post.post(sending, p, keys)} }()
	return nil
}

// obeyed notes what became of it. The copy is removed after the 2xx, and is else
// written anew without the order, if nobody changed it meanwhile. Where that cannot
// be noted the order is not obeyed again before the next start: an error here would
// be a try each second.
func (d *Deliverer) obeyed(ctx context.Context, a answer) {
	d.ordering = false
	u := *a.order
	lg := d.lg.With().Str("outcome", u.ID).Str("by", u.By).Logger()
	var err error
	if a.Fault == Delivered {
		lg.Info().Msg("an outcome that was given up is delivered")
		failed := d.line.failing()
		d.line.works()
		d.tell(failed)
		d.ordersAt = time.Time{} // the next one at once
		err = d.store.Discard(ctx, u.Lane, u.ID, u.Sequence)
	} else {
		lg.Warn().Str("reason", a.Reason).Msg("an outcome that was given up was refused again")
		u.By, u.Last, u.Reason = "", time.Now(), cut(a.Reason)
		err = d.store.Keep(ctx, u)
	}
	if err != nil && !errors.Is(err, consumer.ErrConflict) {
		lg.Error().Err(err).Msg("what became of an outcome that was ordered again cannot be noted on its copy")
	}
}
