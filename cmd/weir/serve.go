package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
)

// serveCmd is weir serve.
type serveCmd struct {
	Hold string `placeholder:"TEXT" help:"Start with every lane held until weir release, as after a backup was put back; TEXT is why."`
}

// Run runs the lanes until the process is asked to stop. Asked again, it ends at
// once.
func (c *serveCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	a.lg = adjustable(a.stderr, a.flags.LogFormat, a.level, a.getenv)
	again, forget := askedAgain()
	defer forget()
	defer a.watchLevel()()
	return withAdmin(a.ctx, cfg.Admin, func(ctx context.Context, adm *admin) error {
		s, err := startPatiently(ctx, a.lg, cfg, c.Hold)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("interrupted before the lanes ran: %w", context.Cause(ctx))
		}
		if err != nil {
			return err
		}
		adm.show(s)
		return c.serve(ctx, a, s, again)
	})
}

// serve runs the lanes until ctx ends, or at once when it is asked again.
func (c *serveCmd) serve(ctx context.Context, a *app, s *service, again <-chan struct{}) (err error) {
	if s.embedded != nil {
		a.lg.Info().Str("url", s.embedded.URL()).Str("dir", s.cfg.Embedded.Dir).Msg("embedded broker is up")
	}
	a.lg.Info().Strs("lanes", s.lanes()).Msg("serving")
	done := make(chan error, 1)
	go func() { done <- errors.Join(s.run(ctx), s.close()) }()
	select {
	case err = <-done:
		a.lg.Info().Msg("stopped")
		return err
	case <-again: // the lease runs out by itself
		a.lg.Warn().Int("claimed", s.claimed()).Msg("stopped at once, as asked for the second time; events that were claimed, and whose answer is not written down, will be in doubt")
		return fmt.Errorf("stopped at once: %w", context.Canceled)
	}
}

// watchLevel changes the log's level as signals ask, until the returned function ends
// that.
func (a *app) watchLevel() (end func()) {
	signals, more, forget := levelSignals()
	ctx, stop := context.WithCancel(context.WithoutCancel(a.ctx))
	var wg sync.WaitGroup
	wg.Go(func() { a.level.obey(ctx, a.lg, signals, more) })
	return func() {
		forget()
		stop()
		wg.Wait()
	}
}

// askedAgain returns what is closed when the process is asked to stop for the
// second time, and what ends the watch for it.
func askedAgain() (again <-chan struct{}, forget func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	closed, end := make(chan struct{}), make(chan struct{})
	go func() {
		for range 2 {
			select {
			case <-signals:
			case <-end:
				return
			}
		}
		close(closed)
	}()
	return closed, func() {
		signal.Stop(signals)
		close(end)
	}
}

// startRetry is the pause between two attempts to start.
const startRetry = 3 * time.Second

// startPatiently starts the service, however long a broker of the user's own
// takes to answer.
func startPatiently(ctx context.Context, lg zerolog.Logger, cfg *config.Config, hold string) (*service, error) {
	for {
		s, err := startHeld(ctx, lg, cfg, hold)
		if err == nil || cfg.Broker == nil || !broker.Away(err) {
			return s, err
		}
		if ctx.Err() == nil {
			lg.Warn().Err(err).Msg("the broker does not do what weir needs to start; it is asked again")
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(startRetry):
		}
	}
}
