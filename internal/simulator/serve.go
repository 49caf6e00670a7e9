package simulator

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// grace is how long requests may take to end at shutdown.
const grace = 5 * time.Second

// Serve answers on a listener until ctx ends, then lets the requests that are
// under way end and returns nil. It closes the listener always, and refuses one
// that is not on a loopback address: the credentials here protect nothing.
func (s *Simulator) Serve(ctx context.Context, ln net.Listener) error {
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		return errors.Join(fmt.Errorf("serve: %v is not a loopback address", ln.Addr()), ln.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	srv := s.server(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.notice(ctx) })
	ended := make(chan error, 1)
	wg.Go(func() { ended <- srv.Serve(ln) })
	select {
	case err := <-ended:
		cancel()
		return errors.Join(fmt.Errorf("serve: %w", err), s.shutdown(ctx, srv))
	case <-ctx.Done():
		return s.shutdown(ctx, srv)
	}
}

// server returns the HTTP server. Its requests see ctx end, so that what hangs
// by intent lets go at shutdown.
func (s *Simulator) server(ctx context.Context) *http.Server {
	f := s.cfg.Faults
	return &http.Server{
		Handler:           s.Handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(s.lg, "", 0),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30*time.Second + f.HangFor + f.SlowFor + 2*s.cfg.Latency,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
}

// shutdown ends the server within the grace period.
func (s *Simulator) shutdown(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("serve: shutdown: %w", err), srv.Close())
	}
	return nil
}

// notice looks at the account four times a second, so that ends reach the proof
// log when nobody asks; and once more at the end.
func (s *Simulator) notice(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		s.account.do(func(time.Time) {})
	}
}
