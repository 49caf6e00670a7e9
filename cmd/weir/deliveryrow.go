package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/delivery"
)

// deliveryRow is how a lane's outcomes fare that go to an address.
type deliveryRow struct {
	Waiting     uint64    `json:"waiting"`     // published, and neither delivered nor given up
	Retrying    int       `json:"retrying"`    // of them, those that were refused and are tried again
	Undelivered int       `json:"undelivered"` // given up
	Since       time.Time `json:"failing_since,omitzero"`
	Reason      string    `json:"reason,omitzero"`
}

// words are for a table; empty if all is well.
func (r *deliveryRow) words() string {
	if r == nil {
		return ""
	}
	var words []string
	if !r.Since.IsZero() && r.Waiting > 0 {
		words = append(words, fmt.Sprintf("outcomes are not delivered since %s, %d wait: %s", when(r.Since), r.Waiting, r.Reason))
	} else if r.Retrying > 0 {
		words = append(words, fmt.Sprintf("%d outcomes are refused and tried again", r.Retrying))
	}
	if r.Undelivered > 0 {
		words = append(words, fmt.Sprintf("%d outcomes were given up: see weir undelivered list", r.Undelivered))
	}
	return strings.Join(words, "; ")
}

// delivery looks how a lane's outcomes fare; nil if they go to no address.
func (d *desk) delivery(ctx context.Context, lc config.Lane) (*deliveryRow, error) {
	if lc.Outcomes == nil {
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	r := &deliveryRow{}
	data, _, err := d.broker.Delivery(ctx, lc.Name)
	if err != nil || data == nil {
		return r, unlessMissing(err)
	}
	place, err := delivery.ReadPlace(data)
	if err != nil {
		return r, err
	}
	r.Since, r.Reason = place.Since, place.Reason
	for _, h := range place.Held {
		if h.Tries > 0 { // others wait behind it, or for the endpoint
			r.Retrying++
		}
	}
	behind, err := d.broker.OutcomesBehind(ctx, lc.Name, lc.Outcomes.Kinds, place.Floor)
	if err != nil {
		return r, unlessMissing(err)
	}
	r.Waiting = behind + uint64(len(place.Held))
	given, err := d.broker.CountUndelivered(ctx, lc.Name)
	r.Undelivered = given
	return r, unlessMissing(err)
}

// unlessMissing is err, unless it says no more than that a stream was not made yet.
func unlessMissing(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}
