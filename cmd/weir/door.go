package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

// door is where publishers bring events over HTTP. It needs no lane of this
// process's own.
func (s *service) door() gateway.Door {
	return gateway.Door{
		Publishers: publishers(s.cfg), Lanes: doorLanes(s.cfg), Catalog: s.cfg.Catalog,
		Queue: doorQueue{s.broker}, Ledger: s.ledger, Owner: doorOwner{s.broker},
		List: doorList{s.register, s.cfg},
	}
}

// publishers are those of the configuration. The gateway's own token is good for
// every lane; its name can be nobody else's.
func publishers(cfg *config.Config) []gateway.Publisher {
	var all []gateway.Publisher
	if own := cfg.Gateway.Token; len(own.Values) > 0 {
		p := gateway.Publisher{Name: "gateway.token", Tokens: own.Read, Rate: config.DefaultRate, Everywhere: true}
		for _, ac := range cfg.Accounts {
			for _, lc := range ac.Lanes {
				p.Lanes = append(p.Lanes, lc.Name)
			}
		}
		all = append(all, p)
	}
	for _, p := range cfg.Gateway.Publishers {
		all = append(all, gateway.Publisher{Name: p.Name, Tokens: p.Token.Read, Lanes: p.Lanes, Rate: p.Rate, Origins: p.Origins})
	}
	return all
}

// doorLanes is what the door must know of the lanes.
func doorLanes(cfg *config.Config) map[string]gateway.Lane {
	lanes := make(map[string]gateway.Lane)
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			lanes[lc.Name] = gateway.Lane{MaxEvent: int(lc.MaxEvent), Routes: lc.Routes}
		}
	}
	return lanes
}

// doorOwner asks a lane's owner, wherever it runs.
type doorOwner struct{ b *broker.Broker }

// Control implements gateway.Owner.
func (o doorOwner) Control(ctx context.Context, lane string, command []byte) ([]byte, error) {
	answer, err := o.b.Control(ctx, lane, command)
	if errors.Is(err, broker.ErrNoOwner) {
		err = fmt.Errorf("%w: %w", gateway.ErrNoOwner, err)
	}
	return answer, err
}

// doorQueue publishes as weir publish does.
type doorQueue struct{ b *broker.Broker }

// Publish implements gateway.Queue.
func (q doorQueue) Publish(ctx context.Context, lane string, ev event.Event, header map[string][]string, body []byte) (uint64, bool, error) {
	publish := q.b.PublishEvent
	high, err := schema.High(ev)
	if err != nil {
		return 0, false, err
	}
	if high {
		publish = q.b.PublishHigh
	}
	placed, err := publish(ctx, lane, header, body, messageID(lane, ev))
	switch {
	case errors.Is(err, broker.ErrFull):
		err = fmt.Errorf("%w: %w", gateway.ErrFull, err)
	case errors.Is(err, nats.ErrMaxPayload):
		err = fmt.Errorf("%w: %w", gateway.ErrTooLarge, err)
	}
	return placed.Sequence, placed.Duplicate, err
}

// Queued implements gateway.Queue.
func (q doorQueue) Queued(ctx context.Context, lane, intent string, sequence uint64) (gateway.Queued, error) {
	found, err := q.b.Queued(ctx, lane, intent, sequence)
	if err != nil {
		return gateway.Queued{}, err
	}
	queued := gateway.Queued{Since: found.Since}
	if ev, err := schema.Decode(found.Header, found.Data, 0); err == nil {
		queued.Source, queued.ID = ev.Source(), ev.ID()
	}
	return queued, nil
}
