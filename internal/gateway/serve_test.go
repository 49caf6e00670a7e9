package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

// house is a gateway that listens.
type house struct {
	url, address string
	stop         func()       // tells it to end
	ended        <-chan error // what Serve returned
}

func listen(t *testing.T, lg zerolog.Logger, cfg gateway.Config) house {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gateway.New(lg, nil, cfg).Serve(ctx, ln) }()
	t.Cleanup(cancel)
	return house{"http://" + ln.Addr().String(), ln.Addr().String(), cancel, ended}
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// raw sends bytes as they are, and returns the connection and its answers.
func raw(t *testing.T, address, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// response reads an answer, nil if the connection is closed without a whole one.
func response(r *bufio.Reader) *http.Response {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp
}

// post is a POST as bytes; a length of -1 is that of the body.
func post(body string, length int) string {
	if length < 0 {
		length = len(body)
	}
	return fmt.Sprintf("POST /events/sales HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", crmToken, structured, length, body)
}

// After the Retry-After that it was told, a publisher gets in, and not a second
// before. Time stands still but for its waiting.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		h := gateway.New(zerolog.Nop(), nil, gateway.Config{Door: doorOf(t, q, nil)}).Handler()
		n := 0
		send := func(token string, events int) (int, int) {
			kind, body := structured, ""
			for range events {
				n++
				body += "," + ev(strconv.Itoa(n))
			}
			body = body[1:]
			if events > 1 {
				kind, body = inBatch[1], "["+body+"]"
			}
			w := &recorder{header: http.Header{}}
			r, _ := http.NewRequest("POST", "/events", strings.NewReader(body))
			r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {kind}}
			h.ServeHTTP(w, r)
			retry, _ := strconv.Atoi(w.header.Get("Retry-After"))
			return w.status, retry
		}
		for i := range 10 { // shop may send one a second, ten at once
			if status, _ := send(shopToken, 1); status != 202 {
				t.Fatalf("event %d: got %d", i, status)
			}
		}
		for _, tc := range []struct{ events, retry int }{{1, 1}, {4, 4}, {10, 10}, {3, 3}, {25, 10}, {1, 16}, {2, 2}} {
			status, retry := send(shopToken, tc.events)
			if status != 429 || retry != tc.retry {
				t.Errorf("%d events: got %d, Retry-After %d; want 429, %d", tc.events, status, retry, tc.retry)
			}
			if status, _ := send(crmToken, 1); status != 422 { // it has two lanes: another publisher is not touched
				t.Errorf("another publisher: got %d", status)
			}
			time.Sleep(time.Duration(retry)*time.Second - time.Millisecond)
			if status, _ := send(shopToken, tc.events); status != 429 {
				t.Errorf("%d events a moment too early: got %d, want 429", tc.events, status)
			}
			time.Sleep(time.Millisecond)
			if status, _ := send(shopToken, tc.events); status != 202 {
				t.Errorf("%d events at their time: got %d, want 202", tc.events, status)
			}
		}
		want := 10 + 1 + 4 + 10 + 3 + 25 + 1 + 2
		if got := len(q.taken()); got != want {
			t.Errorf("got %d events, want %d", got, want)
		}
	})
}

// recorder is an answer without a connection.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

// A token that comes in is good within seconds, one that is taken away is not any
// more, and a source that fails changes nothing.
func TestTokensChangeWhileItRuns(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	valid, failure := []schema.Secret{crmToken}, error(nil)
	door := doorOf(t, &queue{}, nil)
	door.Publishers[0].Tokens = func() ([]schema.Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		return valid, failure
	}
	set := func(err error, tokens ...schema.Secret) {
		mu.Lock()
		defer mu.Unlock()
		valid, failure = tokens, err
	}
	var logged safeBuffer
	h := listen(t, zerolog.New(&logged), gateway.Config{Door: door})
	works := func(token string) bool {
		return ask(t, "POST", h.url+"/events/sales", ev("1"), "Content-Type", structured, "Authorization", "Bearer "+token).status == 202
	}
	const next = "0123456789abcdef-next"
	if !works(crmToken) || works(next) {
		t.Error("at first the old token alone must be good")
	}
	set(nil, crmToken, next)
	await(t, "the new token", func() bool { return works(next) })
	if !works(crmToken) {
		t.Error("the old token beside the new one: refused")
	}
	set(nil, next)
	await(t, "the end of the old token", func() bool { return !works(crmToken) })
	if !works(next) {
		t.Error("the new token alone: refused")
	}
	set(errors.New("no such file"), crmToken)
	await(t, "the warning", func() bool { return strings.Contains(logged.String(), "no such file") })
	if !works(next) || works(crmToken) {
		t.Error("a source that fails has changed what is valid")
	}
	set(nil)
	await(t, "the end of every token", func() bool { return !works(next) })
	if strings.Contains(logged.String(), "0123456789abcdef") || strings.Count(logged.String(), "no such file") != 1 {
		t.Errorf("the log holds a token, or a failure twice:\n%s", logged.String())
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// held is a queue that says nothing until it is let go.
func held() (q *queue, entered <-chan struct{}, let func()) {
	in, out := make(chan struct{}, 1000), make(chan struct{})
	return &queue{fail: func(event.Event) error {
		in <- struct{}{}
		<-out
		return nil
	}}, in, sync.OnceFunc(func() { close(out) })
}

// Requests under way get their answer; new ones, on an old connection or a new
// one, are told to come again; then it ends.
func TestDrain(t *testing.T) {
	t.Parallel()
	q, entered, let := held()
	defer let()
	h := listen(t, zerolog.Nop(), gateway.Config{Door: doorOf(t, q, nil)})
	kept, answers := raw(t, h.address, strings.Replace(post(ev("0"), -1), crmToken, "wrong", 1))
	if resp := response(answers); resp == nil || resp.StatusCode != 401 {
		t.Fatalf("got %v, want 401", resp)
	}
	_, slow := raw(t, h.address, post(ev("1"), -1))
	<-entered
	h.stop()
	turned := func(r *bufio.Reader) bool {
		resp := response(r)
		return resp != nil && resp.StatusCode == 503 && resp.Close && resp.Header.Get("Retry-After") != "" && resp.Header.Get("Content-Type") == "application/problem+json"
	}
	await(t, "the end to begin", func() bool {
		_, r := raw(t, h.address, "GET /events/x HTTP/1.1\r\nHost: x\r\n\r\n")
		return turned(r)
	})
	if _, err := io.WriteString(kept, post(ev("2"), -1)); err != nil || !turned(answers) {
		t.Error("on an open connection: want 503, with when to come again")
	}
	select {
	case err := <-h.ended:
		t.Fatalf("it ended with a request under way: %v", err)
	default:
	}
	let()
	if resp := response(slow); resp == nil || resp.StatusCode != 202 {
		t.Errorf("the request under way: got %v, want 202", resp)
	}
	if err := <-h.ended; err != nil {
		t.Error(err)
	}
	if got := len(q.taken()); got != 1 {
		t.Errorf("got %d events, want the one that was told yes", got)
	}
}

// One publisher's requests do not take the place of all.
func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	q, entered, let := held()
	defer let()
	h := listen(t, zerolog.Nop(), gateway.Config{Door: doorOf(t, q, nil)})
	var waiting []*bufio.Reader
	for i := range 16 {
		_, r := raw(t, h.address, post(ev(strconv.Itoa(i)), -1))
		waiting = append(waiting, r)
		<-entered
	}
	ask(t, "POST", h.url+"/events/sales", ev("17"), "Content-Type", structured).isRefusal(t, 429)
	_, other := raw(t, h.address, strings.Replace(strings.Replace(post(ev("1"), -1), crmToken, shopToken, 1), "/sales", "/shop", 1))
	<-entered
	let()
	for i, r := range append(waiting, other) {
		if resp := response(r); resp == nil || resp.StatusCode != 202 {
			t.Errorf("request %d: got %v, want 202", i, resp)
		}
	}
}

// A connection above the most is told so, and closed; when others leave there is
// room again.
func TestConnections(t *testing.T) {
	t.Parallel()
	h := listen(t, zerolog.Nop(), gateway.Config{Door: doorOf(t, &queue{}, nil), Connections: 2})
	var open []net.Conn
	for range 2 {
		c, r := raw(t, h.address, post(ev("1"), -1))
		if resp := response(r); resp == nil || resp.StatusCode != 202 {
			t.Fatalf("got %v, want 202", resp)
		}
		open = append(open, c)
	}
	_, r := raw(t, h.address, post(ev("1"), -1))
	resp := response(r)
	if resp == nil || resp.StatusCode != 503 || !resp.Close || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: got %v, want 503 and the end", resp)
	}
	_ = open[0].Close()
	await(t, "a place", func() bool {
		_, r := raw(t, h.address, strings.Replace(post(ev("1"), -1), "Host: x", "Host: x\r\nConnection: close", 1))
		resp := response(r)
		return resp != nil && resp.StatusCode == 202
	})
}

// Connections far above the most wait in the system's queue, and one that only
// listens keeps nobody out for ever.
func TestConnectionsBeyondAll(t *testing.T) {
	t.Parallel()
	h := listen(t, zerolog.Nop(), gateway.Config{Door: doorOf(t, &queue{}, nil), Connections: 1, Reading: 500 * time.Millisecond})
	for range 100 {
		raw(t, h.address, "POST")
	}
	await(t, "a place", func() bool {
		_, r := raw(t, h.address, post(ev("1"), -1))
		resp := response(r)
		return resp != nil && resp.StatusCode == 202
	})
}

func TestSlowAndCutBodies(t *testing.T) {
	t.Parallel()
	q := &queue{}
	// Long enough for what does come: it counts from the connection on.
	h := listen(t, zerolog.Nop(), gateway.Config{Door: doorOf(t, q, nil), Reading: 6 * time.Second})
	for name, text := range map[string]string{
		"a body that does not come":   post(ev("1"), len(ev("1"))+1),
		"chunks that do not come":     strings.Replace(strings.Replace(post("", 0), "Content-Length: 0", "Transfer-Encoding: chunked", 1), "\r\n\r\n", "\r\n\r\n4\r\n{\"a\"\r\n", 1),
		"a header that does not come": "POST /events/sales HTTP/1.1\r\nHost: x\r\n",
		"nothing":                     "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r := raw(t, h.address, text)
			resp := response(r) // or the connection ends without one
			if strings.Contains(name, "header") || name == "nothing" {
				if resp != nil && resp.StatusCode != 408 && resp.StatusCode != 400 {
					t.Errorf("got %v, want the end", resp.Status)
				}
				return
			}
			if resp == nil || resp.StatusCode != 408 || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %v, want 408", resp)
			}
		})
	}
	t.Cleanup(func() {
		if got := q.taken(); len(got) > 0 {
			t.Errorf("what never came to its end was published: %v", got)
		}
	})
}

func TestHeaderBombs(t *testing.T) {
	t.Parallel()
	q := &queue{}
	h := listen(t, zerolog.Nop(), gateway.Config{Door: doorOf(t, q, nil)})
	start := "POST /events/sales HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nAuthorization: Bearer " + crmToken + "\r\nContent-Type: application/json\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /crm\r\nce-type: lead.created\r\n"
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "ce-x%d: 1\r\n", i)
	}
	for name, tc := range map[string]struct {
		more   string
		status int
	}{
		"one that is long":      {"ce-subject: " + strings.Repeat("x", 100<<10) + "\r\n", 431},
		"many":                  {strings.Repeat("ce-x: "+strings.Repeat("x", 100)+"\r\n", 1000), 431},
		"a long attribute":      {"ce-subject: " + strings.Repeat("x", 5000) + "\r\n", 413},
		"too many attributes":   {many.String(), 413},
		"the same name again":   {"ce-id: 1\r\n", 400},
		"two lengths":           {"Content-Length: 1\r\n", 400},
		"a name with a blank":   {"ce-a b: x\r\n", 400},
		"folded":                {"ce-subject: x\r\n y\r\n", 422}, // one value, x y, of an event without data
		"a control character":   {"ce-subject: \x01\r\n", 400},
		"chunked and a length":  {"Transfer-Encoding: chunked, gzip\r\n", 501},
		"nothing but the event": {"", 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", h.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() { _, _ = io.WriteString(c, start+tc.more+"\r\n") }() // it may be cut off while it writes
			resp := response(bufio.NewReader(c))
			if resp == nil && tc.status == 431 { // it was cut off before it had read the answer
				return
			}
			if resp == nil || resp.StatusCode != tc.status {
				t.Errorf("got %v, want %d", resp, tc.status)
			}
		})
	}
	t.Cleanup(func() {
		if got := q.taken(); len(got) > 0 {
			t.Errorf("published: %v", got)
		}
	})
}

// An event that makes the door panic is answered, and the others go on.
func TestAPanicIsAnswered(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	h := listen(t, zerolog.Nop(), gateway.Config{Door: doorOf(t, &queue{fail: func(event.Event) error {
		if broken.Load() {
			panic("a fault")
		}
		return nil
	}}, nil)})
	ask(t, "POST", h.url+"/events/sales", ev("1"), "Content-Type", structured).isRefusal(t, 500)
	broken.Store(false)
	if a := ask(t, "POST", h.url+"/events/sales", ev("1"), "Content-Type", structured); a.status != 202 {
		t.Errorf("got %d %s, want 202", a.status, a.body)
	}
}

// Without publishers there is no door.
func TestNoDoor(t *testing.T) {
	t.Parallel()
	h := listen(t, zerolog.Nop(), gateway.Config{})
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		ask(t, method, h.url+"/events/sales", ev("1"), "Content-Type", structured).isRefusal(t, 404)
	}
}
