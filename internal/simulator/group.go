package simulator

import (
	"context"
	"crypto/tls"
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

// Group is simulators of several providers behind one listener.
type Group struct {
	sims []*Simulator // each of another provider
}

// Join puts simulators behind one listener. Two of one provider would answer
// the same paths, which is an error; so is none at all.
func Join(sims ...*Simulator) (*Group, error) {
	if len(sims) == 0 {
		return nil, errors.New("join: no simulator")
	}
	seen := map[string]bool{}
	for _, s := range sims {
		if seen[s.Provider()] {
			return nil, fmt.Errorf("join: two simulators of %s", s.Provider())
		}
		seen[s.Provider()] = true
	}
	return &Group{sims: sims}, nil
}

// Handler returns the APIs of all and the operator's routes, for a server of
// the caller's. A fault that breaks a connection needs a real one.
func (g *Group) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, s := range g.sims {
		s.api.routes(mux)
	}
	mux.Handle("/simulator/", g.operator())
	return mux
}

// Reports returns what happened so far, by provider.
func (g *Group) Reports() map[string]Report {
	reports := map[string]Report{}
	for _, s := range g.sims {
		reports[s.Provider()] = s.Report()
	}
	return reports
}

// Conversations returns every conversation, one provider after the other, each
// in the order of making.
func (g *Group) Conversations() []Conversation {
	var all []Conversation
	for _, s := range g.sims {
		all = append(all, s.Conversations()...)
	}
	return all
}

// Serve answers on a listener until ctx ends, then lets the requests that are
// under way end and returns nil. It closes the listener always, and refuses one
// that is not on a loopback address: the credentials here protect nothing.
func (g *Group) Serve(ctx context.Context, ln net.Listener) error {
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		return errors.Join(fmt.Errorf("serve: %v is not a loopback address", ln.Addr()), ln.Close())
	}
	return g.serve(ctx, ln)
}

// ServeTLS is Serve over TLS, on an address that others may reach, too: whoever
// calls it has put the simulator where nobody does harm.
func (g *Group) ServeTLS(ctx context.Context, ln net.Listener, cert tls.Certificate) error {
	// HTTP/1.1 alone: the faults that break a connection break one request's.
	return g.serve(ctx, tls.NewListener(ln, &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	}))
}

func (g *Group) serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	srv := g.server(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { g.notice(ctx) })
	for _, s := range g.sims {
		wg.Go(func() { s.courier.run(ctx) })
	}
	ended := make(chan error, 1)
	wg.Go(func() { ended <- srv.Serve(ln) })
	select {
	case err := <-ended:
		cancel()
		return errors.Join(fmt.Errorf("serve: %w", err), shutdown(ctx, srv))
	case <-ctx.Done():
		return shutdown(ctx, srv)
	}
}

// server returns the HTTP server. Its requests see ctx end, so that what hangs
// by intent lets go at shutdown.
func (g *Group) server(ctx context.Context) *http.Server {
	var slowest time.Duration
	for _, s := range g.sims {
		slowest = max(slowest, s.manner.slowest())
	}
	return &http.Server{
		Handler:           g.Handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(g.sims[0].lg, "", 0),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30*time.Second + slowest,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
}

// shutdown ends the server within the grace period.
func shutdown(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("serve: shutdown: %w", err), srv.Close())
	}
	return nil
}

// notice looks at the accounts four times a second, so that ends reach the
// proof log when nobody asks; and once more at the end.
func (g *Group) notice(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		for _, s := range g.sims {
			s.account.do(func(time.Time) {})
		}
	}
}
