package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/bench"
	"github.com/weirhq/weir/internal/simulator"
)

// benchBrokerCmd is the broker of weir bench, a process of its own.
type benchBrokerCmd struct {
	Dir  string `arg:"" type:"path"`
	Sync string `arg:"" enum:"always,background"`
}

// Run serves until standard input ends.
func (c *benchBrokerCmd) Run(a *app) error {
	ctx, stop := untilClosed(a.ctx, a.stdin)
	defer stop()
	return bench.ServeBroker(ctx, c.Dir, c.Sync, a.stdout)
}

// benchProviderCmd is the provider of weir bench, a process of its own.
type benchProviderCmd struct {
	Latency time.Duration `arg:""`
}

// Calls of the provider last for days, so that none of them ends in a run and is
// asked for. Below /short they end at once.
const (
	benchScale      = 0.001
	benchShortScale = 1_000_000
	benchShort      = "/short"
	benchSlots      = 10_000_000
)

// Run serves until standard input ends.
func (c *benchProviderCmd) Run(a *app) error {
	ctx, stop := untilClosed(a.ctx, a.stdin)
	defer stop()
	long, err := simulator.New(zerolog.Nop(), simulator.Config{Limit: benchSlots, Scale: benchScale, Seed: 1, Latency: c.Latency})
	if err != nil {
		return err
	}
	short, err := simulator.New(zerolog.Nop(), simulator.Config{Limit: benchSlots, Scale: benchShortScale, Seed: 1, Latency: c.Latency})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", long.Handler())
	mux.Handle(benchShort+"/", http.StripPrefix(benchShort, short.Handler()))
	return bench.ServeProvider(ctx, bench.NewProvider(mux), a.stdout)
}

// untilClosed ends with ctx, or when nobody holds the other end of standard input
// any more: the process that started this one is gone.
func untilClosed(ctx context.Context, stdin io.Reader) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		stop()
	}()
	return ctx, stop
}

// benchServeCmd is weir serve with each allocation noted, a process of its own.
type benchServeCmd struct{}

// Run serves until standard input ends, and prints what was allocated.
func (*benchServeCmd) Run(a *app) error {
	bench.ProfileAllocs()
	cfg, err := a.config()
	if err != nil {
		return err
	}
	ctx, stop := untilClosed(a.ctx, a.stdin)
	defer stop()
	s, err := startService(ctx, zerolog.Nop(), cfg)
	if err != nil {
		return err
	}
	if err := errors.Join(s.run(ctx), s.close()); err != nil {
		return err
	}
	return json.NewEncoder(a.stdout).Encode(bench.CountAllocs())
}
