package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

// ear is an engine that answers as told.
type ear func(ctx context.Context, lane string, body []byte) error

func (e ear) Hook(ctx context.Context, lane string, body []byte, _ map[string][]string) error {
	return e(ctx, lane, body)
}

const secret = "0123456789abcdef-secret"

func serve(t *testing.T, lg zerolog.Logger, e ear) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(gateway.New(lg, e, gateway.Config{
		Secrets: map[string]schema.Secret{"acme": secret, "other": "another-secret-of-a-lane", "none": ""},
	}).Handler())
	t.Cleanup(srv.Close)
	return srv
}

func send(t *testing.T, method, url string, body io.Reader, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestH13TheAnswerSaysWhetherToSendItAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		status int
		retry  bool
	}{
		"durable":        {nil, 200, false},
		"unknown":        {consumer.ErrUnknown, 202, false},
		"heard":          {consumer.ErrHeard, 202, false},
		"not yet":        {consumer.ErrLater, 503, true},
		"anything else":  {errors.New("the ledger is away: +14155550123"), 503, true},
		"unreadable":     {fmt.Errorf("%w: no payload", consumer.ErrUnreadable), 400, false},
		"not that kind":  {consumer.ErrNoWebhook, 404, false},
		"wrapped unread": {errors.Join(consumer.ErrLater), 503, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var heard atomic.Value
			srv := serve(t, zerolog.Nop(), func(_ context.Context, lane string, body []byte) error {
				heard.Store(lane + " " + string(body))
				return tc.err
			})
			status, header, body := send(t, "POST", srv.URL+"/hooks/provider/acme/"+secret, strings.NewReader(`{"a":1}`))
			if status != tc.status || (header.Get("Retry-After") != "") != tc.retry || heard.Load() != `acme {"a":1}` {
				t.Errorf("got %d, Retry-After %q, heard %v; want %d, %v", status, header.Get("Retry-After"), heard.Load(), tc.status, tc.retry)
			}
			if strings.Contains(body, "+1415") {
				t.Errorf("the answer tells too much: %s", body)
			}
			if status >= 300 {
				isProblem(t, header, body, status)
			}
		})
	}
}

func isProblem(t *testing.T, header http.Header, body string, status int) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != status || p.Title == "" || p.Detail == "" ||
		header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %s %q, want a problem document of status %d", header.Get("Content-Type"), body, status)
	}
}

// Whatever is wrong with an address, the answer is the same, nothing is heard and
// nothing of it is logged.
func TestH13AWrongAddressTellsNothing(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	srv := serve(t, zerolog.New(&logged).Level(zerolog.TraceLevel), func(context.Context, string, []byte) error {
		t.Error("a webhook with a wrong address was heard")
		return nil
	})
	want := ""
	for _, address := range []string{
		"/hooks/provider/acme/" + secret[1:], "/hooks/provider/acme/" + secret + "0", "/hooks/provider/nobody/" + secret,
		"/hooks/provider/other/" + secret, "/hooks/provider/none/", "/hooks/provider/none/x", "/hooks/provider/acme/", "/hooks/provider/acme",
		"/hooks/provider/acme/" + secret + "/", "/hooks/provider/acme/" + secret + "/more", "/hooks/provider//acme/" + secret,
		"/hooks/provider/x/../acme/" + secret, "/hooks/provider/ACME/" + secret, "/", "/events/acme",
	} {
		status, header, body := send(t, "POST", srv.URL+address, strings.NewReader("{}"))
		if want == "" {
			want = body
		}
		if status != 404 || body != want {
			t.Errorf("%s: got %d %s, want 404 and %s", address, status, body, want)
		}
		isProblem(t, header, body, 404)
	}
	if strings.Contains(logged.String(), "secret") {
		t.Errorf("the log holds a secret: %s", logged.String())
	}
}

func TestGetChangesNothing(t *testing.T) {
	t.Parallel()
	srv := serve(t, zerolog.Nop(), func(context.Context, string, []byte) error {
		t.Error("something else than a POST was heard")
		return nil
	})
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		for _, s := range []string{secret, "wrong-secret-wrong-secret"} {
			status, header, body := send(t, method, srv.URL+"/hooks/provider/acme/"+s, nil)
			if status != 405 || header.Get("Allow") != "POST" {
				t.Errorf("%s: got %d, Allow %q; want 405, POST", method, status, header.Get("Allow"))
			}
			isProblem(t, header, body, 405)
		}
	}
}

func TestH13LimitsOfABody(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	srv := serve(t, zerolog.Nop(), func(_ context.Context, _ string, body []byte) error {
		heard.Add(int64(len(body)))
		return nil
	})
	url := srv.URL + "/hooks/provider/acme/" + secret
	if status, _, _ := send(t, "POST", url, bytes.NewReader(make([]byte, 1<<20))); status != 200 || heard.Load() != 1<<20 {
		t.Errorf("1 MiB: got %d, %d bytes heard", status, heard.Load())
	}
	status, header, body := send(t, "POST", url, io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), strings.NewReader("x")))
	if status != 413 || heard.Load() != 1<<20 {
		t.Errorf("one byte more, of unknown length: got %d", status)
	}
	isProblem(t, header, body, 413)
	status, header, body = send(t, "POST", url, strings.NewReader("{}"), "Content-Encoding", "gzip")
	if status != 415 {
		t.Errorf("compressed: got %d, want 415", status)
	}
	isProblem(t, header, body, 415)
}

// More webhooks than may be worked on are sent back, and the others not touched.
func TestH13AFloodIsSentBack(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	srv := serve(t, zerolog.Nop(), func(context.Context, string, []byte) error {
		entered <- struct{}{}
		<-leave
		return nil
	})
	url := srv.URL + "/hooks/provider/acme/" + secret
	done := make(chan int, 64)
	for range 64 {
		go func() {
			status, _, _ := send(t, "POST", url, strings.NewReader("{}"))
			done <- status
		}()
	}
	for range 64 {
		<-entered
	}
	if status, header, _ := send(t, "POST", url, strings.NewReader("{}")); status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("one too many: got %d, Retry-After %q; want 503 and when to come again", status, header.Get("Retry-After"))
	}
	close(leave)
	for range 64 {
		if status := <-done; status != 200 {
			t.Errorf("one of those that were taken: got %d, want 200", status)
		}
	}
}

// Run serves over TLS, and ends with its context once what is under way is done.
func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := gateway.New(zerolog.Nop(), ear(func(context.Context, string, []byte) error {
		cancel()
		return nil
	}), gateway.Config{Secrets: map[string]schema.Secret{"acme": secret}})
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, ln) }()
	status, _, _ := send(t, "POST", "http://"+ln.Addr().String()+"/hooks/provider/acme/"+secret, strings.NewReader("{}"))
	if status != 200 {
		t.Errorf("a webhook during the shutdown: got %d, want its answer", status)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("serve: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it did not end")
	}
}

func TestServeTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := gateway.New(zerolog.Nop(), ear(func(context.Context, string, []byte) error { return nil }),
		gateway.Config{Secrets: map[string]schema.Secret{"acme": secret}, Cert: cert, Key: key})
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its own certificate
	resp, err := client.Post("https://"+ln.Addr().String()+"/hooks/provider/acme/"+secret, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}
