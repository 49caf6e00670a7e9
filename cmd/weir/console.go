package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/console"
)

// console shows operators what the whole installation does, also the lanes that
// other replicas own: it reads and acts as the command line does.
func (s *service) console() *console.Console {
	d := &desk{cfg: s.cfg, broker: s.broker, ledger: s.ledger}
	cc := s.cfg.Console
	pages := newPagesDesk(s.lg, d)
	desks := console.Desks{
		Lanes:    newLanesDesk(d, s.consoleTrouble),
		Events:   &eventsDesk{pages, s.register},
		Letters:  &lettersDesk{pages},
		Doubts:   &doubtsDesk{pages},
		Contacts: &contactsDesk{pages, s.register},
		Settings: pages, LaneNames: d.laneNames(),
	}
	if tellsOutcomes(s.cfg) {
		desks.Undelivered = &outcomesDesk{pages}
	}
	return console.New(s.lg, desks, console.Config{
		Listen: cc.Listen, Cert: cc.TLS.Cert, Key: cc.TLS.Key, BehindProxy: cc.BehindProxy,
		Tokens: cc.Token.Read, Version: version,
	})
}

// consoleTrouble is what is wrong with this process or the broker beyond any lane.
func (s *service) consoleTrouble() error {
	return errors.Join(s.room.lacking(), s.clock.Trusted())
}

// forConsole says an error of the broker as the console tells it.
func forConsole(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, errNeverServed):
		return console.Absent{Text: "The broker has none of Weir's streams.", Next: "They are made when weir serve starts; look at its log."}
	case broker.Away(err), errors.Is(err, context.DeadlineExceeded):
		return console.Away{Err: leaderless(err)}
	default:
		return fmt.Errorf("broker: %w", err)
	}
}
