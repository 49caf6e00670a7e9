package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// correction is an event that is sent in the place of a letter's.
type correction struct {
	header map[string][]string
	body   []byte
	digest string
}

// correction reads a corrected event, and refuses what the lane would refuse
// without asking its provider.
func (d *desk) correction(a *app, k kept, name string) (*correction, error) {
	body, err := readEvent(a, name)
	if err != nil {
		return nil, err
	}
	return d.correct(a.ctx, a.quiet(), k, name, body)
}

// correct is correction of an event that was read already. name is what an error calls
// it.
func (d *desk) correct(ctx context.Context, lg zerolog.Logger, k kept, name string, body []byte) (*correction, error) {
	ac, lc, ok := d.lane(k.Lane)
	if !ok {
		return nil, fmt.Errorf("the configuration has no lane %s, so the event cannot be tried", k.Lane)
	}
	header := map[string][]string{"Content-Type": {structuredType}}
	ev, err := schema.Decode(header, body, int(lc.MaxEvent))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be sent: %w", name, err)
	}
	if err := d.sameEvent(ctx, k, name, ev); err != nil {
		return nil, err
	}
	client, err := translator(lg, ac)
	if err != nil {
		return nil, err
	}
	rules, err := contactRules(lc)
	if err != nil {
		return nil, err
	}
	if s := consumer.Screen(d.cfg.Catalog, lc.Routes, rules, client, schema.NewReading(ev)); s.Err != nil {
		return nil, fmt.Errorf("%s would be refused by lane %s: %w", name, k.Lane, s.Err)
	}
	return &correction{header: header, body: body, digest: schema.Digest(ev)}, nil
}

// lane returns a lane of the configuration with its account.
func (d *desk) lane(name string) (config.Account, config.Lane, bool) {
	for ac, lc := range d.lanes() {
		if lc.Name == name {
			return ac, lc, true
		}
	}
	return config.Account{}, config.Lane{}, false
}

// translator is the provider's client for its rules alone. It sends nothing, so the
// credentials, which the command's user need not have, are none.
func translator(lg zerolog.Logger, ac config.Account) (consumer.Provider, error) {
	ac.Auth = config.Auth{Bearer: "none", Token: "none"}
	return provider(lg, ac)
}

// readEvent reads a file, or standard input, as far as an event may reach.
func readEvent(a *app, name string) ([]byte, error) {
	r, err := (&publisher{app: a}).open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, maxLine+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return body, nil
}

// sameEvent refuses another event than the letter's: the intent is that of its
// source and id. An event that could not be read had neither; then the event of
// the corrected one must not be known to the lane, or it would be sent twice.
func (d *desk) sameEvent(ctx context.Context, k kept, name string, ev event.Event) error {
	if k.now.Source != "" || k.now.ID != "" {
		if ev.Source() != k.now.Source || ev.ID() != k.now.ID {
			return fmt.Errorf("%s is event %q from %q, but the letter's event is %q from %q; a corrected event keeps both",
				name, ev.ID(), ev.Source(), k.now.ID, k.now.Source)
		}
		return nil
	}
	key := consumer.Key(k.Lane, ev.Source(), ev.ID())
	in, _, err := d.ledger.Load(ctx, k.Lane, key)
	if err != nil {
		return err
	}
	if in.State != consumer.Absent && key != k.Intent {
		return fmt.Errorf("event %q from %q is known to lane %s already (%s, intent %s), so this letter need not be sent; give it up with weir dead drop %s",
			ev.ID(), ev.Source(), k.Lane, in.State, key, k.Intent)
	}
	return nil
}
