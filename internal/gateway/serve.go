package gateway

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Run listens and serves until ctx ends. Then requests that are under way get
// their answer, and new ones are told to come again.
func (g *Gateway) Run(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return err
	}
	g.lg.Info().Stringer("address", ln.Addr()).Bool("tls", g.cfg.Cert != "").Msg("gateway listens")
	return g.Serve(ctx, ln)
}

// Serve is Run on a listener of the caller's, which it closes.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	hall := &hall{Listener: ln, most: g.cfg.Connections, places: make(chan struct{}, g.cfg.Connections+standing), closed: make(chan struct{})}
	srv := &http.Server{
		Handler: g.Handler(), ErrorLog: log.New(io.Discard, "", 0), // it would write what strangers send
		ReadHeaderTimeout: min(5*time.Second, g.cfg.Reading), ReadTimeout: g.cfg.Reading,
		WriteTimeout: g.cfg.Reading + 2*patience + 5*time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 32 << 10, ConnContext: markConn,
	}
	if g.door != nil {
		watching, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		wg.Go(func() { g.door.watchTokens(watching) })
	}
	ended := make(chan error, 1)
	go func() {
		if g.cfg.Cert != "" {
			ended <- srv.ServeTLS(hall, g.cfg.Cert, g.cfg.Key)
			return
		}
		ended <- srv.Serve(hall)
	}()
	select {
	case err := <-ended:
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	select {
	case <-g.visits.end():
	case <-ctx.Done():
	}
	if err := srv.Shutdown(ctx); err != nil {
		return srv.Close()
	}
	return nil
}

// visits are the requests under way.
type visits struct {
	mu     sync.Mutex
	n      int
	ending chan struct{} // nil: not ending; closed once nobody is left
}

// enter reports whether a request may begin; then leave must follow.
func (v *visits) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending != nil {
		return false
	}
	v.n++
	return true
}

func (v *visits) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n--
	if v.ending != nil && v.n == 0 {
		close(v.ending)
	}
}

// end lets nobody in any more, and returns what is closed once all have left. It
// is called once.
func (v *visits) end() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ending = make(chan struct{})
	if v.n == 0 {
		close(v.ending)
	}
	return v.ending
}

// standing is how many connections above the most are accepted, to tell them that
// there is no place; those after them wait in the system's queue.
const standing = 64

// hall is a listener with so many places.
type hall struct {
	net.Listener

	most   int
	places chan struct{} // holds a token for each open connection
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (h *hall) Accept() (net.Conn, error) {
	select {
	case h.places <- struct{}{}:
	case <-h.closed:
		return nil, net.ErrClosed
	}
	c, err := h.Listener.Accept()
	if err != nil {
		<-h.places
		return nil, err
	}
	return &place{Conn: c, hall: h, excess: len(h.places) > h.most}, nil
}

// Close implements net.Listener.
func (h *hall) Close() error {
	h.once.Do(func() { close(h.closed) })
	return h.Listener.Close()
}

// place is a connection in the hall.
type place struct {
	net.Conn

	hall   *hall
	excess bool // there was no place for it
	once   sync.Once
}

// Close implements net.Conn.
func (p *place) Close() error {
	p.once.Do(func() { <-p.hall.places })
	return p.Conn.Close()
}

// excessKey marks the context of a connection that has no place.
type excessKey struct{}

func markConn(ctx context.Context, c net.Conn) context.Context {
	if inner, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = inner.NetConn()
	}
	if p, ok := c.(*place); ok && p.excess {
		return context.WithValue(ctx, excessKey{}, true)
	}
	return ctx
}

// tooMany reports whether a request came on a connection that has no place.
func tooMany(ctx context.Context) bool { return ctx.Value(excessKey{}) != nil }
