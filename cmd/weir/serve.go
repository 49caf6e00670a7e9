package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
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
func (c *serveCmd) Run(a *app) (err error) {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	again, forget := askedAgain()
	defer forget()
	s, err := startPatiently(a.ctx, a.lg, cfg, c.Hold)
	if err != nil && a.ctx.Err() != nil {
		return fmt.Errorf("interrupted before the lanes ran: %w", a.ctx.Err())
	}
	if err != nil {
		return err
	}
	if s.embedded != nil {
		a.lg.Info().Str("url", s.embedded.URL()).Str("dir", cfg.Embedded.Dir).Msg("embedded broker is up")
	}
	a.lg.Info().Strs("lanes", s.lanes()).Msg("serving")
	done := make(chan error, 1)
	go func() { done <- errors.Join(s.run(a.ctx), s.close()) }()
	select {
	case err = <-done:
		a.lg.Info().Msg("stopped")
		return err
	case <-again: // the lease runs out by itself
		a.lg.Warn().Int("claimed", s.claimed()).Msg("stopped at once, as asked for the second time; events that were claimed, and whose answer is not written down, will be in doubt")
		return fmt.Errorf("stopped at once: %w", context.Canceled)
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

// serveAdmin answers health checks until ctx ends. It shows no personal data.
func serveAdmin(ctx context.Context, listen string, ready func() error) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { health(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { health(w, ready()) })
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// health answers with a small JSON body, or a problem document.
func health(w http.ResponseWriter, err error) {
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"status": "ok"})
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": "Not ready", "status": http.StatusServiceUnavailable, "detail": err.Error(),
	})
}
