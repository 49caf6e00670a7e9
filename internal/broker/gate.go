package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/schema"
)

// Gate says whether a lane is held because part of Weir's state was lost, and
// what its last release decided. A pause is a switch of its own: resuming a lane
// does not lift a hold.
type Gate struct {
	Held  bool      `json:"held"`
	Since time.Time `json:"since,omitzero"` // the newest hold, lifted or not
	Why   string    `json:"why,omitzero"`   // what was expected and what was found

	// Before, after a release, is the boundary: of an event born earlier and
	// unknown to the ledger nobody knows whether it was sent.
	Before   time.Time `json:"before,omitzero"`
	By       string    `json:"by,omitzero"` // who released the lane
	Reason   string    `json:"reason,omitzero"`
	Released time.Time `json:"released,omitzero"`
}

// gateFormat is the major version of storedGate.
const gateFormat = 1

// storedGate is the stored form of a lane's gate.
type storedGate struct {
	V int `json:"v"`
	Gate
}

// Errors within this file: a change that somebody else's came before, which is
// tried again, and a gate that cannot be read, which is not.
var (
	errOutpaced   = errors.New("somebody else changed it")
	errUnreadable = errors.New("it cannot be read")
)

const (
	gatePrefix = "gate."
	// others is, in place of a lane's name, which has no such sign, the gate that a lane
	// without one of its own begins with.
	others = "_others"
	maxWhy = 4 << 10
)

// Hold stops a lane until it is released, durably. A lane that is held already
// gets the newer reason in addition.
func (b *Broker) Hold(ctx context.Context, lane, why string) error {
	err := b.changeGate(ctx, lane, func(g *Gate) {
		switch {
		case !g.Held:
			g.Held, g.Why, g.Since = true, schema.Cut(why, maxWhy), time.Now().UTC()
		case !strings.Contains(g.Why, why):
			g.Why = schema.Cut(g.Why+"; and then: "+why, maxWhy)
		}
	})
	if err != nil {
		return fmt.Errorf("hold lane %s: %w", lane, err)
	}
	return nil
}

// HoldOthers is Hold for each lane that has no gate when it is started (see Adopt).
func (b *Broker) HoldOthers(ctx context.Context, why string) error { return b.Hold(ctx, others, why) }

// ReleaseOthers is Release for them, if they are held: what it says then holds for
// lanes that begin later, too.
func (b *Broker) ReleaseOthers(ctx context.Context, before time.Time, by, reason string) error {
	r, err := b.readKey(ctx, gatePrefix+others)
	if err != nil {
		return fmt.Errorf("release the lanes that are not known: %w", err)
	}
	if g, err := gateOf(r); err != nil || !g.Held {
		return err
	}
	return b.Release(ctx, others, before, by, reason)
}

// Adopt gives lanes that have no gate the one of HoldOthers and ReleaseOthers, if
// there is one.
func (b *Broker) Adopt(ctx context.Context, lanes []string) error {
	r, err := b.readKey(ctx, gatePrefix+others)
	if err != nil {
		return fmt.Errorf("the gate of lanes that are not known: %w", err)
	}
	if r.data == nil {
		return nil
	}
	all := gateOrHeld(r, time.Now())
	gates, err := b.Gates(ctx)
	if err != nil {
		return err
	}
	for _, lane := range lanes {
		if _, has := gates[lane]; has {
			continue
		}
		err := b.changeGate(ctx, lane, func(g *Gate) {
			if *g == (Gate{}) {
				*g = all
			}
		})
		if err != nil {
			return fmt.Errorf("the gate of lane %s: %w", lane, err)
		}
	}
	return nil
}

// Release ends a lane's hold, if there is one, and sets the boundary; an earlier
// release's boundary is never lowered.
func (b *Broker) Release(ctx context.Context, lane string, before time.Time, by, reason string) error {
	err := b.changeGate(ctx, lane, func(g *Gate) {
		g.Held = false
		if before.After(g.Before) {
			g.Before = before.UTC()
		}
		g.By, g.Reason, g.Released = schema.Cut(by, maxField), schema.Cut(reason, maxField), time.Now().UTC()
	})
	if err != nil {
		return fmt.Errorf("release lane %s: %w", lane, err)
	}
	return nil
}

// changeGate changes a lane's gate by compare-and-set.
func (b *Broker) changeGate(ctx context.Context, lane string, change func(*Gate)) error {
	if err := checkLane(lane); err != nil && lane != others {
		return err
	}
	return retry(ctx, budget, func(ctx context.Context) error {
		r, err := b.readKey(ctx, gatePrefix+lane)
		if err != nil {
			return err
		}
		g, err := gateOf(r)
		if err != nil {
			return err
		}
		change(&g)
		data, err := json.Marshal(storedGate{V: gateFormat, Gate: g})
		if err != nil {
			return err
		}
		_, err = b.writeKey(ctx, keyWrite{key: gatePrefix + lane, data: data, expect: &r.revision})
		if outpaced(err) { // somebody else's change, or our own whose answer was lost
			return errOutpaced
		}
		return err
	})
}

// gateOf reads a stored gate; a lane without one is not held.
func gateOf(r record) (Gate, error) {
	if r.data == nil {
		return Gate{}, nil
	}
	var s storedGate
	err := json.Unmarshal(r.data, &s)
	if s.V > gateFormat { // whatever else it has
		err = fmt.Errorf("a newer Weir wrote it (format %d, this one reads %d)", s.V, gateFormat)
	}
	if err != nil {
		return Gate{}, fmt.Errorf("its gate: %w: %w", errUnreadable, err)
	}
	return s.Gate, nil
}

// Gates returns the gates of the lanes that were ever held or released.
func (b *Broker) Gates(ctx context.Context) (map[string]Gate, error) {
	gates := make(map[string]Gate)
	for m, err := range b.walk(ctx, StreamLanes, lanesPrefix+gatePrefix+"*", 1) {
		if err != nil {
			return nil, fmt.Errorf("gates: %w", err)
		}
		if lane, g := readGate(m); lane != others {
			gates[lane] = g
		}
	}
	return gates, nil
}

// WatchGates calls changed for each lane that has a gate, and then within a
// second of each change, until ctx ends.
func (b *Broker) WatchGates(ctx context.Context, changed func(lane string, g Gate)) error {
	return b.watchKeys(ctx, "gates", gatePrefix, func(m *jetstream.RawStreamMsg) {
		if lane, g := readGate(m); lane != others {
			changed(lane, g)
		}
	})
}

// readGate reads a lane's gate. One that cannot be read holds the lane.
func readGate(m *jetstream.RawStreamMsg) (lane string, g Gate) {
	return strings.TrimPrefix(m.Subject, lanesPrefix+gatePrefix), gateOrHeld(newRecord(m), m.Time)
}

// gateOrHeld reads a gate; one that cannot be read holds.
func gateOrHeld(r record, since time.Time) Gate {
	g, err := gateOf(r)
	if err != nil {
		g = Gate{Held: true, Since: since, Why: err.Error()}
	}
	return g
}
