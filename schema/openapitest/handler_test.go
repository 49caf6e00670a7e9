package openapitest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema/openapitest"
)

// reporter is a test that keeps its errors instead of failing.
type reporter struct {
	testing.TB

	mu   sync.Mutex
	errs []string
}

// Error implements [testing.TB].
func (r *reporter) Error(args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, fmt.Sprint(args...))
}

// Errorf implements [testing.TB].
func (r *reporter) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

// good is a request that the small document allows.
func good() *http.Request {
	return request("PUT", "/base/things/7?sure=true", `{"name":"a"}`)
}

func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RequestURI = ""
	r.Header.Set("Authorization", "Bearer t")
	r.Header.Set("Content-Type", "application/json")
	return r
}

// pass sends a request over loopback to a wrapped handler and returns what the
// wrapper reported and recorded.
func pass(t *testing.T, a *openapitest.API, r *http.Request, next http.HandlerFunc) ([]string, openapitest.Exchange) {
	t.Helper()
	rep := &reporter{TB: t}
	h := a.Handler(rep, next)
	srv := httptest.NewServer(h)
	r.URL.Scheme, r.URL.Host = "http", srv.Listener.Addr().String()
	if resp, err := srv.Client().Do(r); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	srv.Close()
	all := h.Exchanges()
	if len(all) != 1 {
		t.Fatalf("got %d exchanges, want 1", len(all))
	}
	return rep.errs, all[0]
}

// reply returns a handler that answers with a JSON body.
func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestHandlerReports(t *testing.T) {
	t.Parallel()
	a := parse(t, small)
	thing := reply(200, `{"name":"a"}`)
	bad := func() *http.Request { return request("PUT", "/base/things/7?sure=true", `{"name":7}`) }
	stranger := func() *http.Request { return request("GET", "/base/other", "") }
	tests := []struct {
		name string
		api  *openapitest.API
		r    *http.Request
		next http.HandlerFunc
		want []string // how each report begins
	}{
		{"all is well", a, good(), thing, nil},
		{"bad request", a, bad(), thing, []string{"putThing: request: body/name: got number"}},
		{"bad request on purpose", a.AnswersOnly(), bad(), thing, nil},
		{"bad answer", a, good(), reply(200, `{}`), []string{"putThing: answer 200: body: missing property 'name'"}},
		{"bad answer to a bad request on purpose", a.AnswersOnly(), bad(), reply(200, `{}`), []string{"putThing: answer 200:"}},
		{"both bad", a, bad(), reply(200, `{}`), []string{"putThing: request:", "putThing: answer 200:"}},
		{"unknown path", a, stranger(), thing, []string{"GET /base/other: unknown path"}},
		{"unknown path, answers only", a.AnswersOnly(), stranger(), thing, []string{"GET /base/other: unknown path"}},
		{"exempt path", a.Except("/base/other"), stranger(), thing, nil},
		{"exempt method", a.Except("GET /base/{any}"), stranger(), thing, nil},
		{"exempt is another method", a.Except("POST /base/other"), stranger(), thing, []string{"GET /base/other: unknown path"}},
		{"exempt is another path", a.Except("/simulator/"), bad(), thing, []string{"putThing: request:"}},
		{"bad query", a, request("PUT", "/base/things/7?sure=true&x=%zz", ""), thing, []string{"putThing: request: query: invalid URL escape"}},
		{"guessed content type", a, good(), func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"name":"a"}`) },
			[]string{`putThing: answer 200: header Content-Type: "text/plain; charset=utf-8"`}},
		{"header after the fact", a, good(), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"name":"a"}`)
		}, []string{`putThing: answer 200: header Content-Type:`}},
		{"nothing said", a, good(), func(http.ResponseWriter, *http.Request) {}, []string{"putThing: answer 200: body: is missing"}},
		{"flushed and nothing more", a, good(), func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() },
			[]string{"putThing: answer 200: body: is missing"}},
		{"in pieces", a, good(), func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			reply(200, `{"name":`)(w, r)
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, `7}`)
		}, []string{"putThing: answer 200: body/name: got number"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := pass(t, tt.api, tt.r, tt.next)
			if len(got) != len(tt.want) {
				t.Fatalf("got reports %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got report %q, want it to begin with %q", got[i], want)
				}
			}
		})
	}
}

// TestHandlerSkipsBrokenAnswers has answers that would all be wrong, were they
// complete.
func TestHandlerSkipsBrokenAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		next   http.HandlerFunc
		status int
	}{
		"nothing, broken off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
		"half, broken off": {func(w http.ResponseWriter, r *http.Request) {
			reply(200, `{`)(w, r)
			panic(http.ErrAbortHandler)
		}, 200},
		"taken over": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("take over: %v", err)
				return
			}
			if _, ok := conn.(*net.TCPConn); !ok {
				t.Errorf("got connection %T, want TCP", conn)
			}
			conn.Close()
		}, 0},
		"taken over by assertion": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}, 0},
		"shorter than declared": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			reply(200, `{`)(w, r)
		}, 200},
		"longer than declared": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1")
			reply(200, `{}`)(w, r)
		}, 200},
		"client gone in the middle": {reply(200, `{`), 200},
		"client gone":               {func(http.ResponseWriter, *http.Request) {}, 0},
	}
	a := parse(t, small)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, next := good(), tt.next
			if strings.HasPrefix(name, "client gone") {
				ctx, leave := context.WithCancel(t.Context())
				r = r.WithContext(ctx)
				next = func(w http.ResponseWriter, r *http.Request) {
					tt.next(w, r)
					leave()
					<-r.Context().Done()
				}
			}
			errs, got := pass(t, a, r, next)
			if len(errs) > 0 {
				t.Errorf("got reports %q, want none", errs)
			}
			want := openapitest.Exchange{Operation: "putThing", Method: "PUT", Path: "/base/things/7", Status: tt.status}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("exchange (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHandlerPassesTheBodyOn(t *testing.T) {
	t.Parallel()
	var got []byte
	_, e := pass(t, parse(t, small), good(), func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	if want := []byte(`{"name":"a"}`); !bytes.Equal(got, want) {
		t.Errorf("got body %q, want %q", got, want)
	}
	want := openapitest.Exchange{Operation: "putThing", Method: "PUT", Path: "/base/things/7", Status: 204, Whole: true}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("exchange (-want +got):\n%s", diff)
	}
}

// TestHandlerSkipsBrokenRequests sends less than was announced: the handler meets
// the end as if nothing stood between.
func TestHandlerSkipsBrokenRequests(t *testing.T) {
	t.Parallel()
	rep := &reporter{TB: t}
	var got []byte
	var failed error
	srv := httptest.NewServer(parse(t, small).Handler(rep, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, failed = io.ReadAll(r.Body)
		panic(http.ErrAbortHandler)
	})))
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	fmt.Fprint(conn, "PUT /base/things/7?sure=true HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"name\":")
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
	srv.Close()
	if string(got) != `{"name":` || failed == nil {
		t.Errorf("got body %q and error %v, want the part and an error", got, failed)
	}
	if len(rep.errs) > 0 {
		t.Errorf("got reports %q, want none", rep.errs)
	}
}

// TestHandlerKeepsTheController sets a deadline through the wrapper.
func TestHandlerKeepsTheController(t *testing.T) {
	t.Parallel()
	errs, _ := pass(t, parse(t, small), good(), func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("set deadline: %v", err)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if len(errs) > 0 {
		t.Errorf("got reports %q, want none", errs)
	}
}
