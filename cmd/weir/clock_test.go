package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
)

// TestH25AProviderWithAnotherClock runs weir serve at a provider whose Date is a
// year off: nothing is thrown away as too old, and the lane says why, until the
// clocks agree. Calls go on.
func TestH25AProviderWithAnotherClock(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	var right atomic.Bool
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if !right.Load() {
				r.Header.Set("Date", time.Now().AddDate(-1, 0, 0).UTC().Format(http.TimeFormat))
			}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	p.url = proxy.URL + target.Path + "/api/v2"
	p.configure(t, plantRoute, "sales")
	stop := p.serve(t, "sales")
	t.Cleanup(stop)
	p.weir(t, "publish", p.file(t, "young.ndjson", lead("young", "+14155550101", "")), "--lane", "sales")
	await(t, patience, "a call to be placed, and the clock to be compared", func() bool {
		return p.sim.Report().Conversations == 1 && strings.Contains(p.weir(t, "lanes"), "ahead of account acme's")
	})
	long := time.Now().AddDate(0, 0, -100).UTC().Format(time.RFC3339)
	p.weir(t, "publish", p.file(t, "old.ndjson", lead("old", "+14155550102", `"time":"`+long+`",`)), "--lane", "sales")
	await(t, patience, "the old event to wait", func() bool {
		return strings.Contains(p.weir(t, "lanes"), "so nobody can tell whether an event of")
	})
	if got := p.weir(t, "dead", "list", "--output", "json"); strings.Contains(got, "too_old") {
		t.Errorf("while the clocks differ: got dead letters\n%s", got)
	}
	right.Store(true)
	await(t, patience, "the old event to be judged", func() bool {
		return strings.Contains(p.weir(t, "dead", "list", "--output", "json"), "too_old")
	})
	if n := p.sim.Report().Conversations; n != 1 {
		t.Errorf("conversations: got %d, want 1", n)
	}
}

// A host whose clock differs from the broker's is not ready, and removes nothing
// for its age.
func TestH25AHostWithAnotherClockSaysSo(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
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
	stop := background(t, s.run)
	await(t, patience, "weir to be ready: the lease has looked at the broker's clock", func() bool { return s.hindered() == nil })
	stop() // or it would look again
	if got, want := s.keep(), 7*24*time.Hour; got != want {
		t.Errorf("events are kept for %v, want %v", got, want)
	}
	now := time.Now()
	s.observe(consumer.Sample{Sent: now, Received: now, Shown: now.Add(-time.Hour)})
	said := false
	for _, r := range s.reasons(t.Context()) {
		if strings.Contains(r.Text, "this machine's clock is 1h0m0s ahead of the broker's") {
			said = !r.Unready // events can be stored all the same
		}
	}
	if !said {
		t.Errorf("reasons: got %v, want the clock, and that events may come", s.reasons(t.Context()))
	}
	if got := s.keep(); got < 10*s.cfg.Events.Keep {
		t.Errorf("events are kept for %v, want for ever", got)
	}
}
