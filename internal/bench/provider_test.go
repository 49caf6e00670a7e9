package bench_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/bench"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	var bodies []string // one request after the other
	srv := httptest.NewServer(bench.NewProvider(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
	})))
	t.Cleanup(srv.Close)
	send := func(method, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/api/v2/conversations", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	asker := &bench.Asker{Address: strings.TrimPrefix(srv.URL, "http://")}
	arrivals := func(from, to int) []time.Time {
		t.Helper()
		at, err := asker.Arrivals(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}

	before := time.Now()
	batch := string(bench.Request(3, 6, true))
	send(http.MethodPost, batch)
	first := arrivals(3, 6)
	send(http.MethodPost, string(bench.Request(5, 6, true))) // again
	send(http.MethodPost, string(bench.Request(0, 2, false)))
	send(http.MethodGet, "")
	for i, at := range first {
		if at.Before(before.Round(0)) || at.After(time.Now()) {
			t.Errorf("event %d: got %v, want a time since %v", 3+i, at, before)
		}
	}
	if diff := cmp.Diff(append([]time.Time{{}, {}, {}}, append(first, time.Time{})...), arrivals(0, 7)); diff != "" {
		t.Errorf("times, the first of each event (-want +got):\n%s", diff)
	}
	got, err := asker.Counts(t.Context())
	if diff := cmp.Diff(bench.Counts{Events: 3, Doubled: 1, Creates: 3, Looks: 1, Most: 1}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if len(bodies) != 4 || bodies[0] != batch {
		t.Errorf("behind it came %q, want each request whole", bodies)
	}
}

// TestChild starts processes that end in their own ways.
func TestChild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, _, err := bench.StartPart(t.Context(), "part", dir, "/bin/sh", "-c", "echo no room >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "part did not start: no room") {
		t.Errorf("got %v, want what it said", err)
	}
	c, said, err := bench.StartPart(t.Context(), "ready", dir, "/bin/sh", "-c", "echo here; echo fell over >&2; exit 4")
	if err != nil || said != "here" {
		t.Fatalf("got %q, %v, want here", said, err)
	}
	if err := c.Await(); err == nil || !strings.Contains(err.Error(), "ready has ended by itself (exit status 4): fell over") {
		t.Errorf("got %v, want how it ended", err)
	}
	c, err = bench.StartChild("steady", dir, "/bin/sh", "-c", "trap 'exit 0' TERM; echo well; while :; do sleep 0.1; done")
	if err != nil {
		t.Fatal(err)
	}
	for out := ""; out != "well\n"; time.Sleep(10 * time.Millisecond) {
		text, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		out = string(text)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := c.Await(); err != nil {
		t.Errorf("a process that was stopped: got %v, want nothing", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := bench.StartPart(ctx, "silent", dir, "/bin/sh", "-c", "exec sleep 60"); err == nil {
		t.Error("a part that says nothing: got nil, want the end of ctx")
	}
}
