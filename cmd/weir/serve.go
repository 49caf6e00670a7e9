package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// serveCmd is weir serve.
type serveCmd struct{}

// Run runs the lanes until the process is asked to stop.
func (c *serveCmd) Run(a *app) (err error) {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	s, err := startService(a.ctx, a.lg, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if s.embedded != nil {
		a.lg.Info().Str("url", s.embedded.URL()).Str("dir", cfg.Embedded.Dir).Msg("embedded broker is up")
	}
	a.lg.Info().Strs("lanes", s.lanes()).Msg("serving")
	err = s.run(a.ctx)
	a.lg.Info().Msg("stopped")
	return err
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
