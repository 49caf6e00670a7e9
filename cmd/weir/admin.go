package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/internal/config"
)

// admin is the listener for who looks after the process: health, and nothing that
// is personal. It answers from before the broker is found until all is done, so
// that a process which waits for its broker is not taken for dead.
type admin struct {
	address string                  // that it listens on; empty: nowhere
	service atomic.Pointer[service] // nil: not started yet
}

// show lets the listener speak of the service.
func (h *admin) show(s *service) { h.service.Store(s) }

// withAdmin runs do beside the listener, if one is wanted. What fails first ends
// both.
func withAdmin(ctx context.Context, cfg config.Admin, do func(context.Context, *admin) error) error {
	h := &admin{}
	if cfg.Listen == "" {
		return do(ctx, h)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return &listenError{key: "admin.listen", address: cfg.Listen, err: err}
	}
	h.address = ln.Addr().String()
	srv := &http.Server{
		Handler: h.routes(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	within, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	served := make(chan error, 1)
	go func() {
		err := srv.Serve(ln)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		fail(err)
		served <- err
	}()
	err = do(within, h)
	_ = srv.Close()
	return errors.Join(err, <-served)
}

// listenError is an address that cannot be listened on.
type listenError struct {
	key, address string
	err          error
}

func (e *listenError) Error() string {
	return e.key + " " + e.address + " cannot be listened on: " + e.err.Error() +
		"; end the other program that uses it, or give another address"
}

func (e *listenError) Unwrap() error { return e.err }

// routes are all that the listener answers.
func (h *admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, "application/json", http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /metrics", h.metrics)
	mux.HandleFunc("GET /scale", h.scale)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, h.reasons(r.Context())) })
	return mux
}

// metrics answers a scrape. While the broker is not found there is nothing to count.
func (h *admin) metrics(w http.ResponseWriter, r *http.Request) {
	if s := h.service.Load(); s != nil {
		s.figures.serve(w, r)
		return
	}
	ready(w, h.reasons(r.Context()))
}

// reasons are what hinders the service.
func (h *admin) reasons(ctx context.Context) []reason {
	if s := h.service.Load(); s != nil {
		return s.reasons(ctx)
	}
	return []reason{{Text: "weir serve is starting: it waits for the broker; its log says for what", Unready: true}}
}

// readiness is the answer of /readyz: a problem document (RFC 9457) while events
// should be brought elsewhere.
type readiness struct {
	Type    string   `json:"type,omitzero"`
	Title   string   `json:"title,omitzero"`
	Status  any      `json:"status"` // the word ready, or the number of the problem
	Detail  string   `json:"detail,omitzero"`
	Reasons []reason `json:"reasons"` // never nil
}

// ready answers /readyz.
func ready(w http.ResponseWriter, reasons []reason) {
	body := readiness{Status: "ready", Reasons: append([]reason{}, reasons...)}
	kind, status := "application/json", http.StatusOK
	var grave []string
	for _, r := range reasons {
		if r.Unready {
			grave = append(grave, r.Text)
		}
	}
	if len(grave) > 0 {
		kind, status = "application/problem+json", http.StatusServiceUnavailable
		body.Type, body.Title, body.Status, body.Detail = "about:blank", "Not ready", status, strings.Join(grave, "; ")
	}
	reply(w, kind, status, body)
}

// reply writes JSON that nobody may keep.
func reply(w http.ResponseWriter, kind string, status int, body any) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who does not listen any more needs no answer
}
