package openapitest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
)

// Handler passes requests on and reports what breaks the document. Close the
// server before the test ends: what happens later can be told to nobody.
type Handler struct {
	api  *API
	t    testing.TB
	next http.Handler

	mu        sync.Mutex
	exchanges []*Exchange
}

// Exchange is a request that passed through a [Handler].
type Exchange struct {
	Operation    string // its operationId; empty if it is exempt or unknown
	Method, Path string // the path is escaped
	Status       int    // 0 while nothing was answered
	Whole        bool   // the answer was given to its end, so it was looked at
}

// Handler returns a handler that holds each request and each complete answer of
// next against the document and reports violations as errors of the test. An
// answer is not complete, and so is not looked at, if the handler panics (with
// [http.ErrAbortHandler], to break off) or takes over the connection, if it
// writes less than the length that it declared, or if the client has gone.
//
// The body of a request is read to its end before it is passed on.
func (a *API) Handler(t testing.TB, next http.Handler) *Handler {
	return &Handler{api: a, t: t, next: next}
}

// Exchanges returns the requests so far, in the order of their arrival. An
// exchange is complete when its handler has returned, which may be after the
// client has the answer: close the server before.
func (h *Handler) Exchanges() []Exchange {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Exchange, 0, len(h.exchanges))
	for _, e := range h.exchanges {
		all = append(all, *e)
	}
	return all
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &Exchange{Method: r.Method, Path: r.URL.EscapedPath()}
	if h.api.exempted(r) {
		h.add(e)
		h.next.ServeHTTP(w, r)
		return
	}
	op, _, err := h.api.find(e.Method, e.Path)
	if err != nil {
		h.t.Error(err)
	} else {
		e.Operation = op.id
	}
	h.add(e)
	h.request(op, r)
	rec := &recorder{next: w}
	defer func() { h.answer(e, rec) }()
	h.next.ServeHTTP(rec, r)
	rec.returned, rec.gone = true, r.Context().Err() != nil
}

// exempted reports whether a request is one to look away from.
func (a *API) exempted(r *http.Request) bool {
	if a.exempt == nil {
		return false
	}
	_, pattern := a.exempt.Handler(r)
	return pattern != ""
}

func (h *Handler) add(e *Exchange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.exchanges = append(h.exchanges, e)
}

// request checks a request. One whose body does not arrive whole is not looked
// at; its handler meets the same error at the same place.
func (h *Handler) request(op *operation, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	replay := io.Reader(bytes.NewReader(data))
	if err != nil {
		replay = io.MultiReader(replay, failing{err})
	}
	r.Body = readCloser{replay, r.Body}
	if err != nil || op == nil || h.api.anyRequest {
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		h.t.Errorf("%s: request: query: %v", op.id, err)
	}
	if err := h.api.Request(r.Method, r.URL.EscapedPath(), query, r.Header, data); err != nil {
		h.t.Error(err)
	}
}

// answer completes an exchange and checks its answer.
func (h *Handler) answer(e *Exchange, rec *recorder) {
	whole := rec.whole()
	h.mu.Lock()
	e.Status, e.Whole = rec.status, whole
	h.mu.Unlock()
	if !whole || e.Operation == "" {
		return
	}
	if err := h.api.Answer(e.Method, e.Path, rec.status, rec.header, rec.body.Bytes()); err != nil {
		h.t.Error(err)
	}
}

// readCloser reads from one and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// failing is a reader that has come to an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// recorder keeps what a handler answers. Like the writer beneath it, it is used
// by the handler's goroutine alone.
type recorder struct {
	next     http.ResponseWriter
	status   int
	header   http.Header // as it was sent
	body     bytes.Buffer
	broken   bool // taken over, or a write failed
	returned bool // the handler did not panic
	gone     bool // so has the client, by then
}

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header { return r.next.Header() }

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status, r.header = status, r.next.Header().Clone()
	}
	r.next.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(b []byte) (int, error) {
	r.begin(b)
	n, err := r.next.Write(b)
	r.body.Write(b[:n])
	r.broken = r.broken || err != nil
	return n, err
}

// begin notes the implicit header of a first write, whose content type the server
// guesses.
func (r *recorder) begin(b []byte) {
	if r.status == 0 {
		r.status, r.header = http.StatusOK, r.next.Header().Clone()
	}
	if _, ok := r.header["Content-Type"]; !ok && len(b) > 0 && r.body.Len() == 0 {
		r.header.Set("Content-Type", http.DetectContentType(b))
	}
}

// Flush implements [http.Flusher].
func (r *recorder) Flush() { _ = r.FlushError() }

// FlushError flushes as [http.ResponseController] does.
func (r *recorder) FlushError() error {
	r.begin(nil)
	err := http.NewResponseController(r.next).Flush()
	r.broken = r.broken || err != nil
	return err
}

// Hijack implements [http.Hijacker].
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.next).Hijack()
	r.broken = r.broken || err == nil
	return conn, rw, err
}

// Unwrap is for [http.ResponseController], which sets deadlines through it.
func (r *recorder) Unwrap() http.ResponseWriter { return r.next }

// whole reports whether the answer was given to its end.
func (r *recorder) whole() bool {
	if !r.returned || r.broken || r.gone && r.status == 0 {
		return false
	}
	r.begin(nil)
	if declared := r.header.Get("Content-Length"); declared != "" {
		return declared == strconv.Itoa(r.body.Len())
	}
	// Without a length nobody knows whether the handler gave up early.
	return !r.gone
}
