package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/config"
)

// exported is what one metric was exported as.
type exported struct {
	kind   string // counter, gauge or histogram
	labels []string
}

// families reads what a service exports of its own, as types and labels by name.
func families(t *testing.T, s *service) map[string]exported {
	t.Helper()
	all, err := s.figures.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]exported)
	for _, f := range all {
		if !strings.HasPrefix(f.GetName(), "weir_") {
			continue
		}
		e := exported{kind: strings.ToLower(f.GetType().String())}
		for _, l := range f.Metric[0].Label {
			e.labels = append(e.labels, l.GetName())
		}
		found[f.GetName()] = e
	}
	return found
}

// reading is the value of one series, of a histogram its count; false if there is
// none.
func reading(t *testing.T, s *service, name string, labels map[string]string) (float64, bool) {
	t.Helper()
	all, err := s.figures.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			left := maps.Clone(labels)
			for _, l := range m.Label {
				if left[l.GetName()] == l.GetValue() {
					delete(left, l.GetName())
				}
			}
			if len(left) == 0 {
				return valueOf(m), true
			}
		}
	}
	return 0, false
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount())
	default:
		return m.Gauge.GetValue()
	}
}

// documented reads the table of docs/metrics.md.
func documented(t *testing.T) map[string]exported {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]exported)
	for _, row := range regexp.MustCompile("(?m)^\\| `(weir_[a-z0-9_]+)` \\| ([a-z]+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		e := exported{kind: row[2]}
		for label := range strings.SplitSeq(row[3], ",") {
			if label = strings.Trim(strings.TrimSpace(label), "`"); label != "" {
				e.labels = append(e.labels, label)
			}
		}
		slices.Sort(e.labels)
		found[row[1]] = e
	}
	return found
}

// TestMetricsOfARealRun runs the whole of weir, and looks at what it exports: all of
// it is documented, all that is documented is exported, what rules and dashboard name
// is there, and nothing of a person is.
func TestMetricsOfARealRun(t *testing.T) {
	t.Parallel()
	p, pub := newPlant(t, "sales", "care"), newHearer(t)
	p.env["SIGNING"], p.env["DOOR"] = oldSecret, "0123456789abcdef-door"
	p.edit(t, "  - name: sales\n    account: acme\n", "  - name: sales\n    account: acme\n    "+pub.block("")+"\n")
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 1s}\n")
	address := gatewayPort(t)
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}}\nembedded:", address))
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s, err := startService(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.figures.every = 200 * time.Millisecond
	stop := background(t, s.run)
	t.Cleanup(func() {
		stop()
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	h := &admin{}
	h.show(s)
	scrape := func() string {
		w := httptest.NewRecorder()
		h.routes().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Fatalf("GET /metrics: got %d %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	await(t, patience, "the lanes to run", func() bool {
		n, ok := reading(t, s, "weir_account_owned", map[string]string{"account": "acme"})
		return ok && n == 1
	})
	p.weir(t, "contact", "block", "+14155550109", "--reason", "asked on the phone")
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson",
		lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "", ""), lead("9", "+14155550109", "")))
	await(t, patience, "the gateway", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/events/care", strings.NewReader(lead("4", "+14155550104", "")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+p.env["DOOR"])
		r.Header.Set("Content-Type", "application/cloudevents+json")
		resp, err := http.DefaultClient.Do(r)
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusAccepted
	})
	want := documented(t)
	var text string
	var missing []string
	defer func() {
		if t.Failed() {
			t.Logf("missing: %v; the last scrape:\n%s", missing, tail(text, 20_000))
		}
	}()
	await(t, patience, "all that is documented to be exported, and the events to be done", func() bool {
		text = scrape()
		found := families(t, s)
		missing = nil
		for name := range want {
			if _, ok := found[name]; !ok {
				missing = append(missing, name)
			}
		}
		return len(missing) == 0 && done(t, s)
	})
	if diff := cmp.Diff(want, families(t, s), cmp.AllowUnexported(exported{})); diff != "" {
		t.Errorf("what docs/metrics.md says (-) and what is exported (+):\n%s", diff)
	}
	for _, seed := range []string{"415555010", oldSecret, p.env["DOOR"], "0123456789abcdef"} {
		if strings.Contains(text, seed) {
			t.Errorf("the metrics hold %q", seed)
		}
	}
}

// done reports whether the events of TestMetricsOfARealRun came to their ends, by the
// metrics.
func done(t *testing.T, s *service) bool {
	t.Helper()
	for _, w := range []struct {
		name, lane, label, value string
		want                     float64
	}{
		{"weir_attempts_total", "sales", "verdict", "created", 2},
		{"weir_conversations_created_total", "sales", "", "", 2},
		{"weir_conversations_created_total", "care", "", "", 1},
		{"weir_event_to_call_seconds", "sales", "", "", 2},
		{"weir_events_finished_total", "sales", "kind", "rejected", 1},
		{"weir_events_finished_total", "sales", "kind", "suppressed", 1},
		{"weir_contact_rulings_total", "sales", "rule", "block", 1},
		{"weir_dead_letters", "sales", "", "", 1},
		{"weir_doubts_open", "sales", "", "", 0},
		{"weir_events_waiting", "sales", "cause", "queue", 0},
		{"weir_events_pending", "sales", "", "", 0},
		{"weir_events_unacknowledged", "sales", "", "", 0},
		{"weir_outcomes_waiting", "sales", "", "", 0},
		{"weir_oldest_event_age_seconds", "sales", "", "", 0},
	} {
		labels := map[string]string{"lane": w.lane}
		if w.label != "" {
			labels[w.label] = w.value
		}
		if got, ok := reading(t, s, w.name, labels); !ok || got != w.want {
			return false
		}
	}
	used, ok := reading(t, s, "weir_slots_used", map[string]string{"account": "acme"})
	return ok && used == 0
}
