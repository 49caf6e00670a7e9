package main

import (
	"context"
	"errors"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/schema"
)

// heldRule is a contact rule that holds an event now, or will stop it when its lane comes
// to it.
type heldRule struct {
	Rule  string    `json:"rule"`
	Until time.Time `json:"until,omitzero"` // zero: it does not end by itself
	Why   string    `json:"why"`
}

// The rules, as people are told of them.
const (
	heldNotBefore = "notbefore"
	heldExpiry    = "expiry"
	heldWindow    = "calling hours"
	heldContact   = "contact" // consent, numbers and addresses
	heldBlock     = "do not contact"
	heldOften     = "how often"
	heldUnknown   = "not known"
)

// asking is what it takes to ask the contact rules.
type asking struct {
	lg       zerolog.Logger
	register func(ctx context.Context) (*register.Register, error) // who is blocked, and was contacted
}

// asking opens the register when it is needed: without the key that it was written
// with nobody can tell.
func (a *app) asking(d *desk) asking {
	return asking{lg: a.quiet(), register: func(ctx context.Context) (*register.Register, error) {
		cfg, err := a.load(config.LoadBlocks)
		if err != nil {
			return nil, err
		}
		return register.Open(ctx, d.broker, register.Config{Key: cfg.Blocks.Key, Ledger: d.ledger, Lanes: frequencies(cfg)})
	}}
}

// heldBy asks each contact rule of an event that is still to be sent, as its lane
// would now, by this file. It changes nothing.
func (d *desk) heldBy(ctx context.Context, a asking, e *eventShown, in consumer.Intent, found *broker.Found) []heldRule {
	ac, lc, ok := d.lane(e.Lane)
	ev, err := schema.Decode(found.Header, found.Data, int(lc.MaxEvent))
	if !ok || err != nil {
		return nil // it has no rules, or becomes a dead letter
	}
	now := time.Now()
	all := heldByTime(ev, lc, publishedAt(in, found), now)
	client, err := translator(a.lg, ac)
	if err != nil {
		return append(all, heldRule{Rule: heldUnknown, Why: err.Error()})
	}
	rules, err := contactRules(lc)
	if err != nil {
		return append(all, heldRule{Rule: heldUnknown, Why: err.Error()})
	}
	s := consumer.Screen(d.cfg.Catalog, lc.Routes, rules, client, schema.NewReading(ev))
	if skip, ok := errors.AsType[*schema.Skip](s.Err); ok && skip.Class == schema.ClassContact {
		return append(all, heldRule{Rule: heldContact, Why: skip.Reason})
	}
	if s.Err != nil {
		return all
	}
	if s.Rule != nil {
		if r := s.Rule.Judge(e.Intent, now); r.Verdict != consumer.ContactNow {
			all = append(all, heldRule{heldWindow, r.Until, r.Reason})
		}
	}
	approach := consumer.Approach{Lane: e.Lane, Intent: e.Intent, N: in.N, To: s.Request.To, Redial: schema.Redial(ev)}
	if of, number := schema.Redialled(ev); of != "" {
		if number > len(redials(lc.Contact).After) {
			all = append(all, heldRule{Rule: heldOften, Why: consumer.NoMoreRedials})
		}
		first, _, err := d.ledger.Load(ctx, e.Lane, consumer.Key(e.Lane, ev.Source(), of))
		if err != nil {
			return append(all, heldRule{Rule: heldUnknown, Why: "the call that is made again: " + err.Error()})
		}
		approach.Since = first.Claimed
	}
	return append(all, a.heldByRegister(ctx, approach)...)
}

// publishedAt is since when an event counts as published.
func publishedAt(in consumer.Intent, found *broker.Found) time.Time {
	if !in.Born.IsZero() {
		return in.Born
	}
	return found.Since
}

// heldByTime asks an event's lifetime.
func heldByTime(ev event.Event, lc config.Lane, born, now time.Time) (all []heldRule) {
	life, err := schema.LifetimeOf(ev)
	if err != nil {
		return nil // a dead letter
	}
	if life.NotBefore.After(now) {
		all = append(all, heldRule{heldNotBefore, life.NotBefore, "not before " + when(life.NotBefore)})
	}
	if !life.Expires.IsZero() && !life.Expires.After(now) {
		all = append(all, heldRule{Rule: heldExpiry, Why: "its expirytime was " + when(life.Expires) + "; it expires when its lane comes to it"})
	}
	first := born
	if life.NotBefore.After(first) {
		first = life.NotBefore
	}
	if end := first.Add(lc.ExpireAfter); lc.ExpireAfter > 0 && !born.IsZero() && !end.After(now) {
		all = append(all, heldRule{Rule: heldExpiry, Why: "it has waited for longer than expire_after, " + lc.ExpireAfter.String() + "; it expires when its lane comes to it"})
	}
	return all
}

// heldByRegister asks who is blocked, and who was contacted.
func (a asking) heldByRegister(ctx context.Context, approach consumer.Approach) []heldRule {
	unknown := func(err error) []heldRule {
		return []heldRule{{Rule: heldUnknown, Why: "whether the person is blocked, or was contacted: " + err.Error()}}
	}
	r, err := a.register(ctx)
	if err != nil {
		return unknown(err)
	}
	blocked, often, err := r.Look(ctx, approach)
	if err != nil {
		return unknown(err)
	}
	var all []heldRule
	for _, ruled := range []struct {
		rule string
		consumer.Ruling
	}{{heldBlock, blocked}, {heldOften, often}} {
		if ruled.Verdict != consumer.ContactNow {
			all = append(all, heldRule{ruled.rule, ruled.Until, ruled.Reason})
		}
	}
	return all
}
