package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/journal"
	"github.com/weirhq/weir/internal/owner"
)

// The duties that the replicas share out. That of an account is begun after
// somebody has looked at the state.
const (
	dutyState     = "state"
	accountPrefix = "account."
)

// How long others wait for a replica that does not renew its lease. On a cluster
// that is longer than the election of a leader.
const (
	leaseTTL        = 5 * time.Second
	leaseTTLCluster = 20 * time.Second
)

// enlist makes this process a replica, which run lets take part.
func (s *service) enlist() error {
	rc := owner.Config{
		Holder: holder(), TTL: leaseTTL, Observe: s.observe,
		// The mark's file is beside the store.
		Duties: []owner.Duty{{Name: dutyState, First: s.embedded != nil, Do: s.keepState}},
	}
	if s.cfg.Broker != nil && s.cfg.Broker.Replicas > 1 {
		rc.TTL = leaseTTLCluster
	}
	for _, ac := range s.cfg.Accounts {
		rc.Duties = append(rc.Duties, owner.Duty{
			Name: accountPrefix + ac.Name, After: dutyState,
			Do: func(ctx context.Context, t *owner.Term) error { return s.serveAccount(ctx, ac, t) },
		})
	}
	var err error
	s.replica, err = owner.New(s.lg, s.broker, rc)
	return err
}

// holder names this process to people.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// run takes part until ctx ends or a part fails. The duties end first; the
// switches outlive them, so that requests that were sent are answered and recorded
// under them.
func (s *service) run(ctx context.Context) error {
	s.look(ctx)
	sharing, stopSharing := context.WithCancelCause(ctx)
	defer stopSharing(nil)
	around, stopAround := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(around); err != nil && around.Err() == nil {
				stopSharing(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("pauses", func(ctx context.Context) error { return s.broker.WatchPauses(ctx, s.setPause) })
	part("gates", func(ctx context.Context) error { return s.broker.WatchGates(ctx, s.setGate) })
	part("losses", s.losses)
	part("room", s.watchRoom)
	part("sync", s.syncing)
	part("strays", s.strays)
	if s.tracing != nil {
		part("traces", s.tracing.Run)
	}
	part("metrics", s.sampleBroker)
	part("load", s.serveLoad)
	if s.cfg.Gateway.Listen != "" {
		part("gateway", s.gateway().Run)
	}
	if s.cfg.Console.Listen != "" {
		part("console", s.console().Run)
	}
	part("events", s.watchEvents)
	defer context.AfterFunc(sharing, func() { s.stopping.Store(true) })()
	err := s.replica.Run(sharing)
	stopAround()
	wg.Wait()
	if cause := context.Cause(sharing); ctx.Err() == nil && cause != nil {
		err = errors.Join(err, cause)
	}
	return err
}

// keepState looks after the state: first whether all of it is there, before
// anybody is called, and then each second; and it removes what is old.
func (s *service) keepState(ctx context.Context, t *owner.Term) error {
	defer s.dismiss()
	defer s.figures.keep(t)()
	for {
		err := s.pass(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if !broker.Away(err) {
			return excused(ctx, t, err)
		}
		s.lg.Warn().Err(err).Msg("the state was not compared with its mark; nothing is sent before")
		if sleep(ctx, startRetry) != nil {
			return nil
		}
	}
	t.Ready()
	working, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	hold := s.holdWhile(t.Held)
	wg.Go(func() { s.scrub(working, hold) })
	wg.Go(func() { s.trim(working) })
	err := s.guard.Run(ctx, hold)
	stop()
	wg.Wait()
	return excused(ctx, t, err)
}

// excused returns why a duty failed, unless it is another's by now, as the mark is
// then: that its term is over it is told as soon as this replica has heard of it.
func excused(ctx context.Context, t *owner.Term, err error) error {
	for err != nil && t.Held() != nil {
		if sleep(ctx, 100*time.Millisecond) != nil {
			return nil //nolint:nilerr // the end is no failure
		}
	}
	return err
}

// dismiss closes the guard.
func (s *service) dismiss() {
	s.mu.Lock()
	g := s.guard
	s.guard = nil
	s.mu.Unlock()
	if g == nil {
		return
	}
	if err := g.Close(); err != nil {
		s.lg.Warn().Err(err).Msg("the mark's file was not closed")
	}
}

// serveAccount runs an account's lanes while this process owns it. Their books are
// made anew from the ledger.
func (s *service) serveAccount(ctx context.Context, ac config.Account, t *owner.Term) error {
	engine, err := s.engineFor(ctx, ac, t)
	if err != nil || engine == nil {
		return err
	}
	if err := s.beginDeliveries(ctx, ac); err != nil || ctx.Err() != nil {
		return err
	}
	s.hire(ac, engine)
	defer s.fire(ac)
	defer s.figures.own(ac.Name, t)()
	if known, err := s.switches(ctx, engine); err != nil || !known {
		return err
	}
	around, stopAround := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, func() {
		if errors.Is(t.Held(), owner.ErrTaken) { // another one answers
			stopAround()
		}
	})()
	answered, err := s.answer(around, ac, engine)
	defer answered()
	defer stopAround()
	if err != nil {
		return err
	}
	working, stopWorking := context.WithCancel(ctx)
	defer stopWorking()
	var wg sync.WaitGroup
	wg.Go(func() { s.deliver(working, ac) })
	err = engine.Run(working)
	stopWorking()
	stopAround()
	wg.Wait()
	return err
}

// answer lets the engine answer what is asked of its lanes, until ctx ends, and then
// what was asked before. wait returns when that is over; it is to be called even with
// an error.
func (s *service) answer(ctx context.Context, ac config.Account, engine *consumer.Engine) (wait func(), err error) {
	var waits []func()
	serve := func(lane string, on func(context.Context, string, broker.Handler) (func(), error), handle func(context.Context, string, []byte) []byte) {
		done, failed := on(ctx, lane, func(ctx context.Context, request []byte) []byte { return handle(ctx, lane, request) })
		switch {
		case failed == nil:
			waits = append(waits, done)
		case ctx.Err() == nil:
			err = errors.Join(err, failed)
		}
	}
	for _, lc := range ac.Lanes {
		serve(lc.Name, s.broker.ServeControl, engine.Control)
		serve(lc.Name, s.broker.ServeHooks, hears(engine))
	}
	return func() {
		for _, done := range waits {
			done()
		}
	}, err
}

// engineFor makes the engine of an account, however long the broker takes to tell
// of its lanes' queues; nil if ctx ends before.
func (s *service) engineFor(ctx context.Context, ac config.Account, t *owner.Term) (*consumer.Engine, error) {
	ec := consumer.Config{
		Ledger: s.ledger, Outbox: s.broker, Stream: s.broker, Switch: s.broker, Catalog: s.cfg.Catalog, Register: s.register,
		Fence: t.Held, Room: s.room.lacking, Clock: s.clock, Keep: s.cfg.Ledger.Keep,
		Observer: s.observers(),
	}
	if s.tracing != nil {
		ec.Traceparent = s.tracing.Traceparent
	}
	if s.cfg.Broker != nil {
		ec.Heartbeat = s.cfg.Broker.AckWait / 4
	}
	account, err := learn(ctx, s.lg, "queues of account "+ac.Name, func(ctx context.Context) (consumer.AccountConfig, error) {
		return s.account(ctx, ac)
	})
	if err != nil || ctx.Err() != nil {
		return nil, err
	}
	ec.Accounts = []consumer.AccountConfig{account}
	return consumer.New(s.lg, ec)
}

// observers are those who hear what the engines do.
func (s *service) observers() consumer.Observer {
	if s.tracing == nil {
		return consumer.Observers{s.figures, journal.New(s.lg, nil)}
	}
	return consumer.Observers{s.figures, journal.New(s.lg, s.tracing.TraceID), s.tracing}
}

// switches obeys the pauses and gates as they are now, and reports whether they
// could be read before ctx ended.
func (s *service) switches(ctx context.Context, engine *consumer.Engine) (bool, error) {
	_, err := learn(ctx, s.lg, "pauses and gates", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.obey(ctx, engine)
	})
	return err == nil && ctx.Err() == nil, err
}

// obey reads the switches once.
func (s *service) obey(ctx context.Context, engine *consumer.Engine) error {
	s.switching.RLock()
	defer s.switching.RUnlock()
	pauses, err := s.broker.Pauses(ctx)
	if err != nil {
		return err
	}
	gates, err := s.broker.Gates(ctx)
	if err != nil {
		return err
	}
	if s.atSwitch != nil {
		s.atSwitch()
	}
	for lane, p := range pauses {
		engine.SetPause(lane, pause(&p))
	}
	for lane, g := range gates {
		setGate(engine, lane, g)
	}
	return nil
}

// learn asks the broker for something, however long it takes to tell it.
func learn[T any](ctx context.Context, lg zerolog.Logger, what string, ask func(context.Context) (T, error)) (T, error) {
	for {
		told, err := ask(ctx)
		if err == nil || ctx.Err() != nil {
			return told, nil //nolint:nilerr // callers ask ctx
		}
		if !broker.Away(err) {
			return told, fmt.Errorf("read the %s: %w", what, err)
		}
		lg.Warn().Err(err).Msg("the " + what + " are not known yet; nothing is sent before")
		if sleep(ctx, startRetry) != nil {
			return told, nil //nolint:nilerr // as above
		}
	}
}

// hire and fire note which engine runs an account's lanes here.
func (s *service) hire(ac config.Account, e *consumer.Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, lc := range ac.Lanes {
		s.engines[lc.Name] = e
	}
}

func (s *service) fire(ac config.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, lc := range ac.Lanes {
		delete(s.engines, lc.Name)
	}
}

// engine returns the engine that runs a lane in this process, nil if another one
// does, or none.
func (s *service) engine(lane string) *consumer.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engines[lane]
}

// claimed counts the events that were claimed here and whose answer is not written
// down.
func (s *service) claimed() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counted := make(map[*consumer.Engine]bool)
	for _, e := range s.engines {
		if !counted[e] {
			counted[e] = true
			n += e.Claimed()
		}
	}
	return n
}

// setPause obeys a lane's pause.
func (s *service) setPause(lane string, p *broker.PauseRecord) {
	s.switching.Lock()
	defer s.switching.Unlock()
	if e := s.engine(lane); e != nil {
		e.SetPause(lane, pause(p))
	}
}
