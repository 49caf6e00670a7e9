package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
)

// markFile is the mark's file, beside the store of the embedded broker.
const markFile = "mark"

// whatNext is what a person does about a hold.
const whatNext = "nothing is sent; read docs/restore.md, then: weir release"

// pass is the gate at the start: it compares what is there with the mark, and
// holds lanes if something is missing. Nothing was claimed yet, and no consumer
// was touched. Where a former owner's last mark came between, it begins anew with
// that one.
func (s *service) pass(ctx context.Context) error {
	for try := 1; ; try++ {
		err := s.compare(ctx)
		if err == nil {
			return nil
		}
		s.dismiss()
		if !errors.Is(err, consumer.ErrConflict) || try == passTries {
			return err
		}
		s.lg.Info().Err(err).Msg("the mark was written meanwhile: the state is compared once more")
	}
}

// passTries bounds how often the state is compared at the start.
const passTries = 5

// compare compares the state with its mark once.
func (s *service) compare(ctx context.Context) error {
	cfg, err := s.guarded(ctx)
	if err != nil {
		return err
	}
	g, err := guard.Open(ctx, s.lg, s.broker, cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.guard = g
	s.mu.Unlock()
	found, err := g.Check(ctx)
	if err == nil && len(found) > 0 {
		err = s.hold(ctx, found)
	}
	if err != nil {
		return err
	}
	if s.atGate != nil {
		s.atGate()
	}
	return g.Accept(ctx)
}

// guarded says what the guard looks after: the lanes that only another replica's
// file has, too.
func (s *service) guarded(ctx context.Context) (guard.Config, error) {
	lanes, err := s.everyLane(ctx)
	if err != nil {
		return guard.Config{}, err
	}
	cfg := guard.Config{
		Ledger: ledger.Stream, Removed: ledger.Removed,
		Events: broker.StreamEvents, Outcomes: broker.StreamOutcomes,
		Others: []string{broker.StreamLater, broker.StreamDead, broker.StreamContact}, Shelf: broker.StreamLanes,
		Lanes: lanes, Keep: s.cfg.Ledger.Keep - 24*time.Hour, // clocks may differ a little
	}
	if s.embedded != nil {
		cfg.File = filepath.Join(s.cfg.Embedded.Dir, markFile)
	}
	return cfg, nil
}

// holdAll holds every lane.
func (s *service) holdAll(ctx context.Context, why string) error {
	lanes, err := s.everyLane(ctx)
	if err != nil {
		return err
	}
	for _, lane := range lanes {
		if err := s.broker.Hold(ctx, lane, why); err != nil {
			return err
		}
	}
	return nil
}

// stored tells the guard of a write to the ledger, before it counts. Where another
// replica looks after the state, that one sees it.
func (s *service) stored(sequence uint64, fresh bool) error {
	s.mu.Lock()
	g := s.guard
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	return g.Raise(sequence, fresh)
}

// wentBack passes on that a write showed that the ledger has lost entries. It does
// not block.
func (s *service) wentBack(sequence, before uint64) {
	text := fmt.Sprintf("wrote sequence %d, and had written %d or later before", sequence, before)
	select {
	case s.lost <- guard.Finding{Stream: ledger.Stream, Text: text}:
	default: // one is waiting
	}
}

// losses holds the lanes at once when a write shows that the ledger has lost
// entries, sooner than the guard would see it, until ctx ends. Until they are held
// the ledger takes no writes.
func (s *service) losses(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-s.lost:
			_ = s.insist(ctx, s.hold, []guard.Finding{f})
		}
	}
}

// insist holds the lanes, however often the broker has to be asked, and returns an
// error only if ctx ended first.
func (s *service) insist(ctx context.Context, hold func(context.Context, []guard.Finding) error, found []guard.Finding) error {
	for {
		err := hold(ctx, found)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.lg.Error().Err(err).Msg("hold the lanes")
		_ = sleep(ctx, time.Second)
	}
}

// hold stops the lanes that something is missing of, durably, and at once if
// they run.
func (s *service) hold(ctx context.Context, found []guard.Finding) error {
	why := make(map[string][]string)
	var errs []error
	for _, f := range found {
		s.lg.Error().Str("stream", f.Stream).Str("lane", f.Lane).Str("found", f.Text).Msg("part of the state is missing: " + whatNext)
		lanes := []string{f.Lane}
		if f.Lane == "" {
			all, err := s.everyLane(ctx)
			if err != nil { // at least those that run here are held, until it can be told
				all, errs = s.lanes(), append(errs, err)
			}
			lanes = all
		}
		for _, lane := range lanes {
			why[lane] = append(why[lane], f.String())
		}
	}
	for lane, texts := range why { // all of them before the broker is asked, which may take long for each
		text := strings.Join(texts, "; ")
		s.note(lane, text)
		if e := s.engine(lane); e != nil {
			e.SetHold(lane, &consumer.Pause{By: "weir", Reason: heldWhy(broker.Gate{Why: text}), At: time.Now()})
		}
	}
	for lane, texts := range why {
		errs = append(errs, s.broker.Hold(ctx, lane, strings.Join(texts, "; ")))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if s.ledger != nil && slices.ContainsFunc(found, func(f guard.Finding) bool { return f.Stream == ledger.Stream }) {
		s.ledger.Accept() // its lanes send nothing until they are released
	}
	if s.register != nil && slices.ContainsFunc(found, func(f guard.Finding) bool { return f.Stream == broker.StreamContact }) {
		s.register.Accept() // the same
	}
	return nil
}

// holdWhile is hold for what was found while held is nil. Whoever stood still for
// long compares with what was there before others removed what is old: to him that
// looks like a loss.
func (s *service) holdWhile(held func() error) func(context.Context, []guard.Finding) error {
	return func(ctx context.Context, found []guard.Finding) error {
		if err := held(); err != nil {
			return err
		}
		return s.hold(ctx, found)
	}
}

// everyLane returns the lanes of the configuration, and those that ran before.
func (s *service) everyLane(ctx context.Context) ([]string, error) {
	ran, err := s.broker.Ran(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(ran, s.lanes())
	slices.Sort(all)
	return slices.Compact(all), nil
}

// setGate obeys a lane's gate.
func (s *service) setGate(lane string, g broker.Gate) {
	s.switching.Lock()
	defer s.switching.Unlock()
	why := ""
	if g.Held {
		why = g.Why
	}
	s.note(lane, why)
	if e := s.engine(lane); e != nil {
		setGate(e, lane, g)
	}
	if g.Held && s.allHeld() && s.ledger != nil {
		s.ledger.Accept() // perhaps another replica saw that it has lost entries: said once
	}
	if g.Held && s.allHeld() && s.register != nil {
		s.register.Accept() // the same
	}
}

// allHeld reports whether each lane of the file is held.
func (s *service) allHeld() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.lanes(), func(lane string) bool { return s.held[lane] == "" })
}

// setGate makes an engine obey a lane's gate.
func setGate(e *consumer.Engine, lane string, g broker.Gate) {
	e.SetDoubtful(lane, g.Before)
	if !g.Held {
		e.SetHold(lane, nil)
		return
	}
	e.SetHold(lane, &consumer.Pause{By: "weir", Reason: heldWhy(g), At: g.Since})
}

// note remembers why a lane is held; empty: it is not.
func (s *service) note(lane, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(map[string]string)
	}
	delete(s.held, lane)
	if why != "" && slices.Contains(s.lanes(), lane) {
		s.held[lane] = why
	}
}

// scrubAfter is when the first scrub begins, at once if the start read less, and
// scrubEvery when the next one, sooner if the broker was started anew, which is looked
// for each scrubLook, or if it did not come to its end: after scrubTries such looks.
const (
	scrubAfter = 5 * time.Minute
	scrubEvery = 24 * time.Hour
	scrubLook  = time.Minute
	scrubTries = 5
)

// scrub reads everything, now and then, until ctx ends, and holds the lanes that
// something is missing of.
func (s *service) scrub(ctx context.Context, hold func(context.Context, []guard.Finding) error) {
	wait := scrubAfter
	if s.guard.Unread() {
		wait = 0
	}
	for s.untilScrub(ctx, wait) == nil {
		wait = scrubEvery
		found, err := s.guard.Scrub(ctx)
		if len(found) > 0 && err == nil && s.insist(ctx, hold, found) == nil {
			s.guard.Told()
		}
		if err != nil && ctx.Err() == nil {
			wait = scrubTries * s.scrubLook // nobody may have read the ledger since the start
			s.lg.Warn().Err(err).Dur("again_in", wait).Msg("the state was not compared in full")
		}
	}
}

// untilScrub waits for so long, or until the broker has opened the ledger anew.
func (s *service) untilScrub(ctx context.Context, wait time.Duration) error {
	for end := time.Now().Add(wait); time.Until(end) > 0; {
		if err := sleep(ctx, min(s.scrubLook, time.Until(end))); err != nil {
			return err
		}
		if s.guard.Reopened(ctx) {
			s.lg.Info().Msg("the broker was started anew: everything is compared")
			return nil
		}
	}
	return ctx.Err()
}

// holds returns why a lane is held; empty if it is not.
func (s *service) holds(lane string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[lane]
}

// heldWhy says why a lane is held, and what to do.
func heldWhy(g broker.Gate) string { return g.Why + " (" + whatNext + ")" }

// gates says which lanes are held.
func (c *checklist) gates(ctx context.Context, b *broker.Broker, cfg *config.Config) {
	gates, err := b.Gates(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return // and so never served
	}
	if err != nil {
		c.add(checkFail, "gates", "see that the broker answers", "%v", err)
		return
	}
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			if g := gates[lc.Name]; g.Held {
				c.add(checkFail, "lane "+lc.Name, whatNext, "held since %s: %s", g.Since.Format(time.RFC3339), g.Why)
			}
		}
	}
}

// heldError says which lanes are held.
func (s *service) heldError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, lane := range slices.Sorted(maps.Keys(s.held)) {
		errs = append(errs, fmt.Errorf("lane %s is held: %s (%s)", lane, s.held[lane], whatNext))
	}
	return errors.Join(errs...)
}
