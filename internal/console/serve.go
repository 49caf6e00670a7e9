package console

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Run listens and serves until ctx ends. Then streams are closed, and requests
// that are under way get their answer. It is called once.
func (c *Console) Run(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", c.cfg.Listen)
	if err != nil {
		return err
	}
	c.lg.Info().Stringer("address", ln.Addr()).Bool("tls", c.cfg.Cert != "").Msg("console listens")
	return c.Serve(ctx, ln)
}

// Serve is Run on a listener of the caller's, which it closes.
func (c *Console) Serve(ctx context.Context, ln net.Listener) error {
	ln = netutil.LimitListener(ln, c.cfg.Connections) // who comes later waits in the system's queue
	srv := &http.Server{
		Handler: c.Handler(), ErrorLog: log.New(io.Discard, "", 0), // it would write what strangers send
		ReadHeaderTimeout: min(5*time.Second, c.cfg.Reading), ReadTimeout: c.cfg.Reading,
		WriteTimeout: c.cfg.Reading + actFor + 5*time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 32 << 10,
	}
	if c.board != nil {
		watching, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		wg.Go(func() { c.board.run(watching) })
	}
	ended := make(chan error, 1)
	go func() {
		if c.cfg.Cert != "" {
			ended <- srv.ServeTLS(ln, c.cfg.Cert, c.cfg.Key)
			return
		}
		ended <- srv.Serve(ln)
	}()
	select {
	case err := <-ended:
		close(c.closing)
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	close(c.closing)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return srv.Close()
	}
	return nil
}
