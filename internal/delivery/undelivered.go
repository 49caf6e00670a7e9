package delivery

import (
	"context"
	"encoding/json"
	"time"
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
// written anew without the order.
func (d *Deliverer) obeyed(ctx context.Context, a answer) error {
	d.ordering = false
	u := *a.order
	if a.Fault == Delivered {
		d.lg.Info().Str("outcome", u.ID).Str("by", u.By).Msg("an outcome that was given up is delivered")
		failed := d.line.failing()
		d.line.works()
		d.tell(failed)
		return d.store.Discard(ctx, u.Lane, u.ID, u.Sequence)
	}
	d.lg.Warn().Str("outcome", u.ID).Str("by", u.By).Str("reason", a.Reason).Msg("an outcome that was given up was refused again")
	u.By, u.Last, u.Reason = "", time.Now(), cut(a.Reason)
	return d.store.Keep(ctx, u)
}
