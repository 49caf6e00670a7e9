package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

// broker checks the connection, the servers, the account and the streams.
func (c *checklist) broker(ctx context.Context, cfg *config.Config) {
	b, err := reach(ctx, c.app.quiet(), cfg)
	c.away = err
	if _, ok := errors.AsType[notRunningError](err); ok {
		c.add(checkWarn, "broker", "weir serve starts it", "the embedded broker is not running")
		return
	}
	if err != nil {
		c.add(checkFail, "broker", nextFor(err), "%v", leaderless(err))
		return
	}
	defer func() {
		if err := b.Close(context.WithoutCancel(ctx)); err != nil {
			c.app.lg.Debug().Err(err).Msg("close")
		}
	}()
	needs := needs(cfg)
	if cfg.Embedded != nil {
		c.findings(b.Inspect(ctx, needs))
		c.add(checkOK, "sync", "", "the embedded broker writes each message to the disk before it confirms it")
	} else {
		var err error
		needs.Servers, err = broker.Servers(ctx, brokerConfig(cfg), watchOf(cfg))
		c.findings(b.Inspect(ctx, needs))
		c.findings(b.JudgeServers(needs.Servers, err))
		c.findings([]broker.Finding{b.JudgeTLS(time.Now())})
		c.findings(b.JudgeRights(ctx))
	}
	c.brokerTime(ctx, b, needs.Servers)
	c.gates(ctx, b, cfg)
	c.stoppedOutcomes(ctx, b, cfg)
}

// leaderless says in plain words what a broker without a leader says in its own.
func leaderless(err error) error {
	if !broker.Leaderless(err) {
		return err
	}
	return fmt.Errorf("the broker's servers have no leader, so nothing is stored or sent: %w", err)
}

// nextFor says what to do about a broker that cannot be used.
func nextFor(err error) string {
	switch {
	case errors.Is(err, broker.ErrTooOld):
		return "run nats-server 2.12 or newer"
	case errors.Is(err, broker.ErrNoJetStream):
		return "give the server a jetstream block, and the account its share of it"
	case errors.Is(err, nats.ErrPermissionViolation):
		return "give this user the rights in deploy/nats/accounts.conf: docs/nats.md"
	case broker.Leaderless(err):
		return "see that most servers of the cluster run and reach each other (nats server report jetstream); weir goes on by itself"
	default:
		return "see that it runs, and that the broker block names it and its credentials"
	}
}

// needs are what weir serve would ask of the broker.
func needs(cfg *config.Config) broker.Needs {
	n := broker.Needs{
		Ledger: ledger.Stream, LedgerRoom: ledger.DefaultMaxBytes, Sized: cfg.Embedded != nil,
	}
	lc := ledger.Config{}
	if cfg.Broker != nil {
		lc.Replicas = cfg.Broker.Replicas
	}
	n.CheckLedger = func(got jetstream.StreamConfig) error { return ledger.Check(got, lc) }
	for _, ac := range cfg.Accounts {
		for _, lane := range ac.Lanes {
			n.Lanes = append(n.Lanes, lane.Name)
			n.MaxEvent = max(n.MaxEvent, int64(lane.MaxEvent))
		}
	}
	return n
}

// watchOf is how the servers of the broker can be asked.
func watchOf(cfg *config.Config) broker.Watch {
	b := cfg.Broker
	return broker.Watch{
		Monitors: b.Monitors, CA: b.TLS.CA,
		System: broker.System{Creds: b.System.Creds, User: b.System.User, Password: b.System.Password},
	}
}

// brokerTime compares the clocks where no server was asked for its own.
func (c *checklist) brokerTime(ctx context.Context, b *broker.Broker, asked []broker.Server) {
	if len(asked) > 0 {
		return
	}
	sample, err := b.Time(ctx)
	if err != nil {
		c.add(checkWarn, "clock", "give this user the right to publish to $SYS.REQ.USER.INFO", "%v", err)
		return
	}
	c.findings([]broker.Finding{broker.JudgeClock("clock", "the broker", sample)})
}

// findings adds what was found about the broker.
func (c *checklist) findings(found []broker.Finding) {
	for _, f := range found {
		c.add(f.Grade.String(), f.Check, f.Next, "%s", f.Fact)
	}
}

// syncing says once what a power cut would cost at a broker of the user's own.
func (s *service) syncing(ctx context.Context) error {
	if s.cfg.Broker == nil {
		return nil
	}
	servers, err := broker.Servers(ctx, brokerConfig(s.cfg), watchOf(s.cfg))
	for _, f := range s.broker.JudgeServers(servers, err) {
		switch {
		case ctx.Err() != nil || f.Check != "sync" || f.Grade == broker.OK:
		case f.Grade == broker.Problem:
			s.lg.Error().Str("next", f.Next).Msg("a power cut may cost confirmed events: " + f.Fact)
		default:
			s.lg.Warn().Str("next", f.Next).Msg(f.Fact)
		}
	}
	return nil
}

// strays names once the events that were confirmed and that no lane will take.
func (s *service) strays(ctx context.Context) error {
	found, err := s.broker.Strays(ctx, s.lanes())
	if err != nil && ctx.Err() == nil {
		s.lg.Warn().Err(err).Msg("it is not known whether there are events that no lane takes")
	}
	for _, f := range found {
		level := zerolog.WarnLevel
		if f.Grade == broker.Problem {
			level = zerolog.ErrorLevel
		}
		s.lg.WithLevel(level).Str("next", f.Next).Msg(f.Check + " " + f.Fact)
	}
	return nil
}
