package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
)

// got is the answer to one GET.
func got(t *testing.T, url string) (status int, kind, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

// What a balancer needs to know is whether events can be stored here. Nothing that
// every replica would say at once makes one unready.
func TestReadyIsWhoCanStoreEvents(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support", "care")
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	h := &admin{}
	srv := httptest.NewServer(h.routes())
	t.Cleanup(srv.Close)
	p.edit(t, "accounts:", fmt.Sprintf("admin: {listen: %q}\naccounts:", strings.TrimPrefix(srv.URL, "http://")))
	ask := func(flags ...string) (stdout string, err error) {
		stdout, _, err = weir(t.Context(), map[string]string{}, append([]string{"health", "-c", p.yaml, "--timeout", "1m"}, flags...)...) // without any secret
		return stdout, err
	}

	status, kind, body := got(t, srv.URL+"/readyz")
	if status != http.StatusServiceUnavailable || kind != "application/problem+json" || !strings.Contains(body, "it waits for the broker") {
		t.Errorf("before the broker is there: got %d, %s, %s", status, kind, body)
	}
	if status, _, body = got(t, srv.URL+"/healthz"); status != http.StatusOK {
		t.Errorf("alive: got %d, %s", status, body)
	}
	if out, err := ask(); err == nil || out != "" || !strings.Contains(err.Error(), "not ready: weir serve is starting") {
		t.Errorf("weir health: got %q, %v; want that it is not ready, and why", out, err)
	}
	if out, err := ask("--alive"); err != nil || out != "alive\n" {
		t.Errorf("weir health --alive: got %q, %v", out, err)
	}

	s, err := startService(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	h.show(s)
	stop := background(t, s.run)
	await(t, patience, "weir to be ready", func() bool { out, err := ask(); return err == nil && out == "ready\n" })

	// Troubles of lanes, of the clock and of the room: said, and no reason to send
	// events elsewhere.
	if err := s.broker.Pause(t.Context(), "sales", "ana of accounting", "her fair, call +14155550101"); err != nil {
		t.Fatal(err)
	}
	if err := s.broker.Hold(t.Context(), "support", "part of the state is missing"); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the lanes to say so", func() bool {
		return s.status(t.Context(), "sales").State == "paused" && s.status(t.Context(), "support").State == "held"
	})
	lack := errors.New("no new event is begun, because KV_WEIR_LEDGER has used 91 %")
	s.room.shortage.Store(&lack)
	want := []reason{
		{Text: lack.Error()},
		{Lane: "sales", State: "paused", Text: "a person paused it; weir lanes says who, and why"},
		{Lane: "support", State: "held", Text: "part of the state is missing (" + whatNext + ")"},
	}
	// The room is looked at now and then, and there is enough.
	var told readiness
	defer func() {
		if t.Failed() {
			t.Logf("%d %s %+v", status, kind, told)
		}
	}()
	await(t, patience, "the reasons", func() bool {
		s.room.shortage.Store(&lack)
		status, kind, body = got(t, srv.URL+"/readyz")
		told = decoded[readiness](t, body)
		return status == http.StatusOK && kind == "application/json" && told.Status == "ready" && cmp.Equal(want, told.Reasons)
	})
	await(t, patience, "weir health to say that it is ready, and what hinders it", func() bool {
		out, err := ask()
		return err == nil && strings.Contains(out, "but lane support is held: part of the state is missing (")
	})
	now := time.Now()
	s.observe(consumer.Sample{Sent: now, Received: now, Shown: now.Add(-time.Hour)})
	await(t, patience, "the clock to be said, and no more", func() bool {
		s.observe(consumer.Sample{Sent: time.Now(), Received: time.Now(), Shown: time.Now().Add(-time.Hour)})
		status, _, body := got(t, srv.URL+"/readyz")
		return status == http.StatusOK && strings.Contains(body, "this machine's clock is 1h0m0s ahead")
	})

	// The stream of events is away: nothing can be stored.
	away := errors.New("the broker does not store events: no leader")
	await(t, patience, "it to be unready without the stream of events", func() bool { // which is looked at now and then, and is there
		s.doorstep.Store(&away)
		return slices.ContainsFunc(s.reasons(t.Context()), func(r reason) bool { return r.Unready && r.Text == away.Error() })
	})
	s.doorstep.Store(nil)

	stop()
	out, err := ask("--output", "json")
	if told := decoded[readiness](t, out); err == nil || !strings.Contains(told.Detail, "weir serve is stopping") || told.Title != "Not ready" {
		t.Errorf("at the end: got %+v, %v; want that it stops", told, err)
	}
}

// A stream whose leader is away for longer than an election is noticed by itself.
func TestNotReadyWithoutTheStreamOfEvents(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	s.eventsPoll = time.Millisecond
	stop := background(t, s.watchEvents)
	defer stop()
	if err := s.broker.JetStream().DeleteStream(t.Context(), broker.StreamEvents); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "it to be noticed", func() bool { return s.doorstep.Load() != nil })
	if err := s.broker.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "it to be well again", func() bool { return s.doorstep.Load() == nil })
}

func TestAdminListens(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	var address string
	err := withAdmin(t.Context(), config.Admin{Listen: gatewayPort(t)}, func(ctx context.Context, h *admin) error {
		address = h.address
		if status, _, _ := got(t, "http://"+h.address+"/healthz"); status != http.StatusOK {
			t.Errorf("got %d, want 200", status)
		}
		if status, _, _ := got(t, "http://"+h.address+"/nowhere"); status != http.StatusNotFound {
			t.Errorf("got %d, want 404", status)
		}
		err := withAdmin(ctx, config.Admin{Listen: h.address}, func(context.Context, *admin) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "admin.listen "+h.address+" cannot be listened on") {
			t.Errorf("a second one: got %v", err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v, want what was done", err)
	}
	var d net.Dialer
	if conn, err := d.DialContext(t.Context(), "tcp", address); err == nil {
		_ = conn.Close()
		t.Error("it listens after its end")
	}
}

func TestAdminURL(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:8092": "http://127.0.0.1:8092",
		"0.0.0.0:8092":   "http://127.0.0.1:8092",
		":8092":          "http://127.0.0.1:8092",
		"[::]:8092":      "http://[::1]:8092",
		"10.1.2.3:80":    "http://10.1.2.3:80",
		"localhost:8092": "http://localhost:8092",
		"127.0.0.1:0":    "is a port that nobody knows",
		"":               "set admin.listen",
	} {
		url, err := adminURL(listen)
		if url != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("adminURL(%q): got %q, %v; want %q", listen, url, err, want)
		}
	}
}

func TestHealthSaysWhatToDo(t *testing.T) {
	t.Parallel()
	strange := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	ln, err := net.Listen("tcp", gatewayPort(t)) // nobody else's when it is closed
	if err != nil {
		t.Fatal(err)
	}
	_ = strange.Listener.Close()
	strange.Listener = ln
	strange.Start()
	t.Cleanup(strange.Close)
	p := newPlant(t, "sales")
	if _, code := p.refused(t, "set admin.listen in the configuration", "health"); code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	p.edit(t, "accounts:", fmt.Sprintf("admin: {listen: %q}\naccounts:", strings.TrimPrefix(strange.URL, "http://")))
	p.refused(t, "not as weir serve does; see that weir serve runs with this file", "health", "--timeout", "1m")
	strange.Close()
	p.refused(t, "connection refused; see that weir serve runs with this file", "health", "--alive", "--timeout", "1m")
}
