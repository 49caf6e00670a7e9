package simulator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// listen returns a listener on loopback and its URL.
func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	return ln, "http://" + ln.Addr().String()
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), s)
}

// TestServe runs a simulator as a process would: it logs ends that nobody asks
// for, and at the end lets go of a request that hangs by intent.
func TestServe(t *testing.T) {
	t.Parallel()
	log := &lockedBuffer{}
	sim := newSimulator(t, simulator.Config{Scale: 1e6, Log: log})
	ln, url := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- sim.Serve(ctx, ln) }()
	post(t, url, phone(1))
	eventually(t, "logged end", func() bool { return log.count(`"event":"ended"`) == 1 })

	if err := sim.SetOutage(simulator.OutageHang, time.Time{}); err != nil {
		t.Fatalf("set outage: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if word, _ := attempt(t, url); word != "closed" {
			t.Errorf("got %q for a hanging request at shutdown, want closed", word)
		}
	})
	eventually(t, "hanging request", func() bool { return sim.Report().Faults["outage_hang"] == 1 })
	cancel()
	wg.Wait()
	if err := <-served; err != nil {
		t.Errorf("got error %v, want none", err)
	}
	// Somebody else may have the port by now, so nobody is called there.
	if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got a listener that is open after the end (%v), want it closed", err)
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	t.Parallel()
	sim := newSimulator(t, simulator.Config{})
	ln, _ := listen(t)
	ln.Close()
	if err := sim.Serve(t.Context(), ln); err == nil {
		t.Error("got no error, want one")
	}
}

// publicListener says that it listens on every address.
type publicListener struct {
	net.Listener
	closed bool
}

func (*publicListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 80} }

func (l *publicListener) Close() error {
	l.closed = true
	return nil
}

func TestServeRefusesOtherThanLoopback(t *testing.T) {
	t.Parallel()
	ln := &publicListener{}
	err := newSimulator(t, simulator.Config{}).Serve(t.Context(), ln)
	if err == nil || !strings.Contains(err.Error(), "not a loopback address") || !ln.closed {
		t.Errorf("got error %v and closed %v, want a refusal and a closed listener", err, ln.closed)
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		simulator.Outage503:    "503",
		simulator.OutageRefuse: "reset",
		simulator.OutageHang:   "closed",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			sim, url := newServer(t, simulator.Config{Faults: simulator.Faults{HangFor: 20 * time.Millisecond}, Log: &log})
			if err := sim.SetOutage(kind, time.Time{}); err != nil {
				t.Fatalf("set outage: %v", err)
			}
			if word, _ := attempt(t, url); word != want {
				t.Errorf("got %q, want %q", word, want)
			}
			r := sim.Report()
			if r.Conversations != 0 || r.Outage != kind || r.Faults["outage_"+kind] != 1 {
				t.Errorf("got %+v, want nothing made and the outage named", r)
			}
			lines := map[bool]int{true: 0, false: 2}[kind == simulator.OutageRefuse] // that request is not read
			if got := log.count(`"refused"`); got != lines || log.count(`"fault":"outage_`+kind) != lines {
				t.Errorf("got %d lines refused, want %d, with the outage", got, lines)
			}
			sim.ClearOutage()
			if word, _ := attempt(t, url); word != "200" {
				t.Errorf("got %q after the outage, want 200", word)
			}
			if got := sim.Report().Outage; got != "" {
				t.Errorf("got outage %q, want none", got)
			}
		})
	}
}

func TestOutageEndsByItself(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{})
	// A request that comes only when it is over sees nothing of it.
	for wait := time.Second; wait < time.Minute; wait *= 2 {
		end := time.Now().Add(wait)
		if err := sim.SetOutage(simulator.OutageHang, end); err != nil {
			t.Fatalf("set outage: %v", err)
		}
		word, _ := attempt(t, url)
		if word == "closed" {
			break
		}
		if word != "200" || time.Now().Before(end) {
			t.Fatalf("got %q, want closed when the outage is over", word)
		}
	}
	if word, _ := attempt(t, url); word != "200" {
		t.Errorf("got %q after the outage, want 200", word)
	}
	if err := sim.SetOutage("flood", time.Time{}); err == nil {
		t.Error("got no error for an unknown kind, want one")
	}
}

func TestClearingAnOutageLetsGo(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Faults: simulator.Faults{HangFor: time.Hour}})
	if err := sim.SetOutage(simulator.OutageHang, time.Time{}); err != nil {
		t.Fatalf("set outage: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if word, _ := attempt(t, url); word != "closed" {
			t.Errorf("got %q, want closed", word)
		}
	})
	eventually(t, "hanging request", func() bool { return sim.Report().Faults["outage_hang"] == 1 })
	sim.ClearOutage()
	wg.Wait()
}

func TestOperatorRoutes(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{})
	post(t, url, phone(1), phone(2))
	report := decode[simulator.Report](t, get(t, url+"/simulator/report").body)
	if diff := cmp.Diff(sim.Report(), report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	lines := get(t, url+"/simulator/conversations")
	if got := lines.header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("got content type %q, want application/x-ndjson", got)
	}
	var got []simulator.Conversation
	for line := range bytes.Lines(lines.body) {
		got = append(got, decode[simulator.Conversation](t, line))
	}
	if diff := cmp.Diff(sim.Conversations(), got); diff != "" {
		t.Errorf("conversations (-want +got):\n%s", diff)
	}
	if got := get(t, url+"/simulator/outage").status; got != http.StatusMethodNotAllowed {
		t.Errorf("got status %d for a GET of the outage, want 405", got)
	}
}

func TestOperatorOutage(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{})
	for _, c := range []struct {
		body   string
		site   string // Sec-Fetch-Site
		status int
		outage string
	}{
		{`{"kind":"503"}`, "cross-site", 403, ""},
		{`{"kind":"503","for":"1h"}`, "", 204, "503"},
		{`{"kind":"flood"}`, "", 400, "503"},
		{`{"kind":"hang","for":"soon"}`, "", 400, "503"},
		{`{"kind":"hang","for":"-1s"}`, "", 400, "503"},
		{`{"kind":"hang","until":"1h"}`, "", 400, "503"},
		{`{`, "", 400, "503"},
		{`{"kind":"refuse"}`, "", 204, "refuse"},
		{`{"kind":"none"}`, "", 204, ""},
	} {
		t.Run(fmt.Sprint(c.body, c.site), func(t *testing.T) {
			r := createRequest(t, url, []byte(c.body))
			r.URL.Path = "/simulator/outage"
			r.Header.Set("Sec-Fetch-Site", c.site)
			got, err := send(r)
			if err != nil {
				t.Fatalf("set outage: %v", err)
			}
			if got.status != c.status || sim.Report().Outage != c.outage {
				t.Errorf("got status %d and outage %q, want %d and %q", got.status, sim.Report().Outage, c.status, c.outage)
			}
		})
	}
}
