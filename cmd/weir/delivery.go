package main

import (
	"context"
	"sync"
	"time"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/delivery"
)

// deliveryRest is the pause before a delivery goes on that the broker ended.
const deliveryRest = time.Second

// deliveries are the lanes of an account whose outcomes go to an address.
func deliveries(ac config.Account) (lanes []config.Lane) {
	for _, lc := range ac.Lanes {
		if lc.Outcomes != nil {
			lanes = append(lanes, lc)
		}
	}
	return lanes
}

// undeliveredRoom is the room of outcomes that are given up, if there may be any.
func undeliveredRoom(cfg *config.Config) int64 {
	for _, ac := range cfg.Accounts {
		if len(deliveries(ac)) > 0 {
			return 16 << 20 // some ten thousand
		}
	}
	return 0
}

// beginDeliveries notes where the lanes of an account begin that never delivered:
// before the first event of this configuration has an outcome.
func (s *service) beginDeliveries(ctx context.Context, ac config.Account) error {
	_, err := learn(ctx, s.lg, "places of outcomes", func(ctx context.Context) (struct{}, error) {
		for _, lc := range deliveries(ac) {
			if err := delivery.Begin(ctx, outcomeStore{s.broker}, lc.Name); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

// deliver brings the outcomes of an account's lanes to their publishers until ctx
// ends. Nothing that goes wrong here ends anything else.
func (s *service) deliver(ctx context.Context, ac config.Account) {
	var wg sync.WaitGroup
	for _, lc := range deliveries(ac) {
		o := lc.Outcomes
		d := delivery.New(s.lg, outcomeStore{s.broker}, delivery.Config{
			Lane: lc.Name, URL: o.URL, Keys: o.Secret.Read, Kinds: o.Kinds, Timeout: o.Timeout, GiveUp: o.GiveUp,
			Tried: s.figures.tried(lc.Name),
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := d.Run(ctx); err != nil && ctx.Err() == nil {
					s.lg.Warn().Err(err).Str("lane", lc.Name).Msg("the delivery of outcomes begins anew")
				}
				_ = sleep(ctx, deliveryRest)
			}
		})
	}
	wg.Wait()
}

// outcomeStore is the broker as the delivery has it.
type outcomeStore struct{ b *broker.Broker }

// Stream implements delivery.Store.
func (s outcomeStore) Stream(ctx context.Context) (created time.Time, last uint64, err error) {
	return s.b.OutcomesEnd(ctx)
}

// Next implements delivery.Store.
func (s outcomeStore) Next(ctx context.Context, lane string, from uint64) (*delivery.Stored, error) {
	o, err := s.b.NextOutcome(ctx, lane, from)
	return (*delivery.Stored)(o), err
}

// Place implements delivery.Store.
func (s outcomeStore) Place(ctx context.Context, lane string) (data []byte, revision uint64, err error) {
	return s.b.Delivery(ctx, lane)
}

// SavePlace implements delivery.Store.
func (s outcomeStore) SavePlace(ctx context.Context, lane string, data []byte, revision uint64) (uint64, error) {
	return s.b.StoreDelivery(ctx, lane, data, revision)
}

// Keep implements delivery.Store.
func (s outcomeStore) Keep(ctx context.Context, u delivery.Undelivered) error {
	return s.b.KeepUndelivered(ctx, broker.Undelivered(u))
}

// Ordered implements delivery.Store.
func (s outcomeStore) Ordered(ctx context.Context, lane string, from uint64) (u *delivery.Undelivered, next uint64, err error) {
	got, next, err := s.b.OrderedUndelivered(ctx, lane, from)
	return (*delivery.Undelivered)(got), next, err
}

// Discard implements delivery.Store.
func (s outcomeStore) Discard(ctx context.Context, lane, id string, sequence uint64) error {
	return s.b.DiscardUndelivered(ctx, lane, id, sequence)
}

// Hint implements delivery.Store.
func (s outcomeStore) Hint(lane string) (news <-chan struct{}, stop func()) {
	return s.b.NewOutcomes(lane)
}
