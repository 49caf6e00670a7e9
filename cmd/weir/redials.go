package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// redialShown is a call after the first one.
type redialShown struct {
	ID     string         `json:"id"` // of its event
	Intent string         `json:"intent"`
	Number int            `json:"number"`
	State  consumer.State `json:"state"` // queued: not taken up yet
	Since  time.Time      `json:"since,omitzero"`
	At     time.Time      `json:"not_before,omitzero"` // of one that has not been called yet
	Result string         `json:"result,omitzero"`     // of one that has ended
}

// redials are the calls that followed an event's, and the one that is to follow. Each
// is found by its id, which is made of the first event's.
func (d *desk) redials(ctx context.Context, in consumer.Intent) (all []redialShown, err error) {
	first := in.ID
	if in.Redial > 0 {
		first = in.RedialOf
		if in, _, err = d.ledger.Load(ctx, in.Lane, consumer.Key(in.Lane, in.Source, first)); err != nil {
			return nil, err
		}
	}
	for n := 1; n <= schema.MostRedials; n++ {
		r := redialShown{ID: schema.RedialID(first, n), Number: n, State: stateQueued}
		r.Intent = consumer.Key(in.Lane, in.Source, r.ID)
		next, _, err := d.ledger.Load(ctx, in.Lane, r.Intent)
		switch {
		case err != nil:
			return nil, err
		case next.State != consumer.Absent:
			r.tell(next)
		case in.Next == r.ID:
			r.At = in.NextAt
		default:
			return all, nil
		}
		all, in = append(all, r), next
	}
	return all, nil
}

// tell takes over what the ledger says.
func (r *redialShown) tell(in consumer.Intent) {
	r.State, r.At = in.State, in.NotBefore
	if n := len(in.History); n > 0 {
		r.Since = in.History[n-1].At
	}
	if in.State == consumer.Ended {
		r.Result = in.Reason
	}
}

// draw shows a person one redial.
func (r redialShown) draw(w io.Writer) {
	words := string(r.State)
	switch {
	case r.Result != "":
		words += ", " + r.Result
	case r.State == stateQueued:
		words = "not before " + when(r.At)
	case r.State == consumer.Waiting && !r.At.IsZero():
		words += " until " + when(r.At)
	}
	if !r.Since.IsZero() {
		words += ", since " + when(r.Since)
	}
	fmt.Fprintf(w, "redial %d\t%s  %s  %s\n", r.Number, r.Intent[:8], clean(r.ID), clean(words))
}

// calledAgain says when a call is made again.
func calledAgain(r *config.Redial) string {
	if r == nil {
		return ""
	}
	var waits []string
	for _, wait := range r.Waits() {
		waits = append(waits, brief(wait))
	}
	return fmt.Sprintf("; a call that ends %s is made again after %s", strings.Join(r.On, " or "), strings.Join(waits, ", then "))
}

// brief is a wait without the zeros at its end.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
