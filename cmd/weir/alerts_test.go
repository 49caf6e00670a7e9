package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/consumer"
)

// alert is one rule of alerts.yml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// readAlerts reads the rules as they are shipped.
func readAlerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	b := readFile(t, "deploy/prometheus/alerts.yml")
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 14 {
		t.Fatalf("got %d alerts, want all of them", len(all))
	}
	return all
}

// readFile reads a file of the tree.
func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// expressions are all that rules and dashboard ask for, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, a := range readAlerts(t) {
		all["alert "+a.Alert] = a.Expr
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct{ List []struct{ Name, Query any } }
	}
	if err := json.Unmarshal(readFile(t, "deploy/grafana/weir.json"), &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+": "+target.LegendFormat] = target.Expr
		}
	}
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			query, _ := q["query"].(string)
			all["variable "+v.Name.(string)] = query
		}
	}
	for i, code := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(readFile(t, "docs/metrics.md")), -1) {
		all["docs/metrics.md "+string(rune('a'+i))] = code[1]
	}
	if len(all) < 45 {
		t.Fatalf("got %d expressions, want those of rules, dashboard and page", len(all))
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(weir_[a-z0-9_]+)(\{[^}]*\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping   = regexp.MustCompile(`\b(?:by|on|ignoring|without|group_left)\s*\(([^)]*)\)`)
	legend     = regexp.MustCompile(`\{\{\s*\$?(?:labels\.)?([a-z_]+)\s*\}\}`)
)

// ofPrometheus are labels that a scrape adds.
var ofPrometheus = []string{"job", "instance", "le"}

// TestRulesAndDashboardNameWhatThereIs reads each expression: its metrics and their
// labels are those of docs/metrics.md, which a real run is compared with.
func TestRulesAndDashboardNameWhatThereIs(t *testing.T) {
	t.Parallel()
	there := documented(t)
	used := make(map[string]bool)
	for where, expr := range expressions(t) {
		labels := slices.Clone(ofPrometheus)
		found := metricName.FindAllStringSubmatch(expr, -1)
		for _, m := range found {
			name := m[1]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(name, suffix); ok && there[base].kind == "histogram" {
					name = base
				}
			}
			e, ok := there[name]
			if !ok {
				t.Errorf("%s: there is no metric %s", where, m[1])
				continue
			}
			used[name] = true
			labels = append(labels, e.labels...)
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(append(ofPrometheus, e.labels...), l[1]) {
					t.Errorf("%s: %s has no label %s", where, name, l[1])
				}
			}
		}
		if len(found) == 0 && !strings.Contains(expr, "up{") {
			t.Errorf("%s: %q asks for nothing", where, expr)
		}
		var wanted []string
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			for l := range strings.SplitSeq(g[1], ",") {
				wanted = append(wanted, strings.TrimSpace(l))
			}
		}
		for _, l := range legend.FindAllStringSubmatch(where, -1) {
			wanted = append(wanted, l[1])
		}
		for _, l := range wanted {
			if l != "" && !slices.Contains(labels, l) {
				t.Errorf("%s: no metric there has a label %s", where, l)
			}
		}
	}
	for _, name := range []string{
		"weir_events_waiting", "weir_slots_used", "weir_slots_limit", "weir_event_to_call_seconds", "weir_too_many_requests_total",
		"weir_doubts_open", "weir_dead_letters", "weir_wait_seconds_total", "weir_broker_connected",
	} {
		if !used[name] {
			t.Errorf("neither rules nor dashboard show %s", name)
		}
	}
}

// A cause, state or kind that an expression asks for is one that is exported: a word
// that is misspelt would match nothing for ever.
func TestRulesAskForWordsThatThereAre(t *testing.T) {
	t.Parallel()
	words := map[string][]string{
		"cause": append(consumer.Causes(), ""),
		"state": {"running", "waiting", "paused", "held", "stopped", "unowned", "closed", "half-open", "open"},
		"kind":  {"rejected", "expired", "suppressed", "cancelled", "full", "unexplained"},
	}
	seen := 0
	for where, expr := range expressions(t) {
		for _, l := range matcher.FindAllStringSubmatch(expr, -1) {
			if list, ok := words[l[1]]; ok && !strings.HasPrefix(l[3], "$") {
				seen++
				if !slices.Contains(list, l[3]) {
					t.Errorf("%s: no %s is %q", where, l[1], l[3])
				}
			}
		}
	}
	if seen < 8 {
		t.Errorf("got %d such words, want those of the rules", seen)
	}
	page := string(readFile(t, "docs/metrics.md"))
	for _, cause := range consumer.Causes() {
		if !strings.Contains(page, "\n| `"+cause+"` |") {
			t.Errorf("docs/metrics.md does not say what the cause %s is", cause)
		}
	}
}

// TestEachAlertHasItsSection holds rules, their tests and docs/operations.md together.
func TestEachAlertHasItsSection(t *testing.T) {
	t.Parallel()
	page := string(readFile(t, "docs/operations.md"))
	var sections []string
	for _, h := range regexp.MustCompile(`(?m)^### (Weir\w+)$`).FindAllStringSubmatch(page, -1) {
		sections = append(sections, h[1])
	}
	tests := string(readFile(t, "deploy/prometheus/alerts_test.yml"))
	var names []string
	for _, a := range readAlerts(t) {
		names = append(names, a.Alert)
		for _, key := range []string{"summary", "description"} {
			if len(a.Annotations[key]) < 20 {
				t.Errorf("%s: %s says %q", a.Alert, key, a.Annotations[key])
			}
		}
		if got, want := a.Annotations["runbook_url"], "https://github.com/weirhq/weir/blob/main/docs/operations.md#"+strings.ToLower(a.Alert); got != want {
			t.Errorf("%s: runbook_url: got %s, want %s", a.Alert, got, want)
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		fires := regexp.MustCompile(`alertname: ` + a.Alert + `\n\s+eval_time: \w+\n\s+exp_alerts:\n\s+- exp_labels`)
		if !fires.MatchString(tests) {
			t.Errorf("%s: alerts_test.yml does not show that it fires", a.Alert)
		}
	}
	slices.Sort(names)
	slices.Sort(sections)
	if diff := cmp.Diff(names, sections); diff != "" {
		t.Errorf("alerts (-) and their sections in docs/operations.md (+):\n%s", diff)
	}
	for _, state := range []string{"running", "waiting", "paused", "held", "stopped", "unowned"} {
		if !strings.Contains(page, "\n### Lane "+state+"\n") {
			t.Errorf("docs/operations.md does not say what a lane that is %s means", state)
		}
	}
}

// TestOperationsLinksLead follows the links between the two pages.
func TestOperationsLinksLead(t *testing.T) {
	t.Parallel()
	anchors := make(map[string]bool)
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(readFile(t, "docs/operations.md")), -1) {
		anchors[strings.ReplaceAll(strings.ToLower(h[1]), " ", "-")] = true
	}
	links := 0
	for name, link := range map[string]*regexp.Regexp{
		"docs/operations.md": regexp.MustCompile(`\]\(#([^)]+)\)`),
		"docs/metrics.md":    regexp.MustCompile(`\]\(operations\.md#([^)]+)\)`),
	} {
		for _, l := range link.FindAllStringSubmatch(string(readFile(t, name)), -1) {
			links++
			if !anchors[l[1]] {
				t.Errorf("%s: #%s leads nowhere", name, l[1])
			}
		}
	}
	if links < 20 {
		t.Errorf("got %d links, want those of both pages", links)
	}
}
