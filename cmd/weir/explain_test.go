package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// TestExplainPage holds the commands of docs/explain.md against what they print.
// They run where no secret is.
func TestExplainPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "explain.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\nbin/weir (.*?)\n```\n\n```text\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 3 {
		t.Fatalf("got %d commands with what they print, want three", len(blocks))
	}
	for _, b := range blocks {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(b[1])...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), asWeir+"=1")
		got, err := cmd.CombinedOutput()
		if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b[2], string(got)); diff != "" {
			t.Errorf("weir %s (-page +got):\n%s", b[1], diff)
		}
	}
}

// TestExplainAgreesWithTheLane holds what is explained of each line of
// examples/leads.ndjson against what becomes of it: expected.json is what the lane
// makes of them.
func TestExplainAgreesWithTheLane(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "examples", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected []struct {
		Line  int    `json:"line"`
		Want  string `json:"want"`
		Class string `json:"class"`
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := weir(t.Context(), nil, "explain", "-c", filepath.Join(root, "examples", "weir.yaml"), "--output", "json", filepath.Join(root, "examples", "leads.ndjson"))
	if err == nil || exitCode(err, io.Discard) != 1 {
		t.Errorf("got error %v, want exit code 1", err)
	}
	all := decoded[[]explained](t, stdout)
	if len(all) != len(expected) {
		t.Fatalf("got %d events, want %d", len(all), len(expected))
	}
	for i, e := range all {
		want := explained{Result: resultSent}
		if expected[i].Want == "dead" && expected[i].Class != "conflict" { // which only the ledger knows
			want = explained{Result: resultRefused, Class: expected[i].Class}
		}
		if e.Result != want.Result || e.Class != want.Class || (e.Request != nil) != (want.Result == resultSent) {
			t.Errorf("line %d: got %s %s, want %s %s", expected[i].Line, e.Result, e.Class, want.Result, want.Class)
		}
		if last := e.Steps[len(e.Steps)-1]; want.Result == resultRefused && (last.Result != resultRefused || e.Reason == "") {
			t.Errorf("line %d: got the last step %+v, want the one that failed", expected[i].Line, last)
		}
	}
}

// TestExplainShowsWhatIsSent compares the request that is shown with the one that a
// running lane makes of the same event.
func TestExplainShowsWhatIsSent(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	bodies := make(chan []byte, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body) // what is missing will differ
			r.Body = io.NopCloser(bytes.NewReader(body))
			select {
			case bodies <- body:
			default:
			}
		}
		p.sim.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { front.CloseClientConnections(); front.Close() })
	p.url = front.URL + "/api/v2"
	p.configure(t, plantRoute, "sales")
	file := p.file(t, "a.ndjson", lead("1", "+14155550101", ""))
	shown := decoded[[]explained](t, p.weir(t, "explain", "--output", "json", file))
	defer p.serve(t, "sales")()
	p.weir(t, "publish", file)
	await(t, patience, "the call", func() bool { return len(bodies) > 0 })
	var sent, told any
	if err := errors.Join(json.Unmarshal(<-bodies, &sent), json.Unmarshal(shown[0].Request.Body, &told)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, told); diff != "" {
		t.Errorf("body (-sent +shown):\n%s", diff)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	delete(p.env, "KEY")
	delete(p.env, "WORKSPACE")
	p.edit(t, "  - name: support\n", "  - name: support\n    send: false\n")
	t.Cleanup(func() { // after the subtests
		if n := p.sim.Report().Requests; len(n) != 0 {
			t.Errorf("requests: got %v, want none", n)
		}
	})
	good := lead("1", "+14155550101", `"weirlane":"sales",`)
	for _, tt := range []struct {
		name  string
		args  []string
		lines []string
		fails string // in the error; empty: none
		wants []string
	}{
		{"sent", nil, []string{good}, "", []string{"lane     ok       sales (by its weirlane), account acme", "contact  -        none configured", "X-Api-Key: ***", `"toPhoneNumber":"+14155550101"`}},
		{"masked", []string{"--mask"}, []string{good}, "", []string{`"toPhoneNumber":"…01"`}},
		{"by the flag", []string{"--lane", "support"}, []string{good}, "", []string{"support (by --lane)", "send     skipped  dry run: nothing is sent (send: false)", "POST "}},
		{"no lane", nil, []string{lead("1", "+14155550101", "")}, "1 of 1 events", []string{"lane     refused  the event names no lane (weirlane); give --lane with one of: sales, support"}},
		{"no such lane", nil, []string{lead("1", "+14155550101", `"weirlane":"sale",`)}, "1 of 1 events", []string{`no lane is called "sale"`}},
		{"too old", []string{"--lane", "sales"}, []string{lead("1", "+14155550101", `"time":"2020-01-31T09:30:00Z",`)}, "1 of 1 events", []string{"time     refused  too_old: This event is from 2020-01-31"}},
		{"not yet", []string{"--lane", "sales"}, []string{lead("1", "+14155550101", `"notbefore":"2099-01-31T09:30:00Z",`)}, "", []string{"not before 2099-01-31T09:30:00Z, so it would wait", "POST "}},
		{"in time", []string{"--lane", "sales"}, []string{lead("1", "+14155550101", `"notbefore":"2026-01-31T09:30:00+01:00","expirytime":"2099-01-31T09:30:00Z",`)}, "", []string{"not before 2026-01-31T08:30:00Z; it expires at 2099", "POST "}},
		{"over", []string{"--lane", "sales"}, []string{lead("1", "+14155550101", `"expirytime":"2020-01-31T09:30:00Z",`)}, "", []string{"time     expired  it expired at 2020-01-31T09:30:00Z"}},
		{"over before it begins", []string{"--lane", "sales"}, []string{lead("1", "+14155550101", `"notbefore":"2099-02-01T00:00:00Z","expirytime":"2099-01-31T09:30:00Z",`)}, "", []string{"time     expired  it expires at 2099-01-31T09:30:00Z and must not be sent before 2099-02-01"}},
		{"no time at all", []string{"--lane", "sales"}, []string{lead("1", "+14155550101", `"expirytime":"soon",`)}, "1 of 1 events", []string{"time     refused  undecodable: ", "expirytime \"soon\" is not a time"}},
		{"bad data", []string{"--lane", "sales"}, []string{strings.Replace(lead("1", "+14155550101", ""), `"id":"1","phone"`, `"phone"`, 1)}, "1 of 1 events", []string{"data     refused  data: "}},
		{"no event", []string{"--lane", "sales"}, []string{"{cut"}, "1 of 1 events", []string{"read     refused  undecodable: "}},
		{"no message", []string{"--lane", "sales"}, []string{`{"headers":{"a":1},"data":{}}`}, "1 of 1 events", []string{"read     refused  header \"a\""}},
		{"odd priority", nil, []string{lead("1", "+14155550101", `"weirlane":"sales","priority":"low",`)}, "", []string{"weir publish and the gateway refuse it"}},
		{"several", nil, []string{good, lead("2", "", `"weirlane":"sales",`)}, "1 of 2 events", []string{"PLACE", "sales  0      sent ", "sales  0      refused (request)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"explain", "-c", p.yaml, p.file(t, strings.ReplaceAll(tt.name, " ", "-")+".ndjson", tt.lines...)}, tt.args...)
			stdout, _, err := weir(t.Context(), p.env, args...)
			switch {
			case tt.fails == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails) || exitCode(err, io.Discard) != 1):
				t.Errorf("got error %v, want one with %q and exit code 1", err, tt.fails)
			}
			contains(t, stdout, tt.wants...)
		})
	}
}

func TestExplainIsUsedRightly(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "name a file of events"},
		{[]string{"--update", "a.json"}, "--update goes with --golden DIR"},
		{[]string{"--golden", "x", "a.json"}, "takes its events from its folder"},
		{[]string{"--lane", "none", "a.json"}, "the lanes are: sales"},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"explain"}, tt.args...)...); code != 2 {
			t.Errorf("%v: got exit code %d, want 2", tt.args, code)
		}
	}
	p.refused(t, "no such file", "explain", filepath.Join(t.TempDir(), "none.json"))
}

func TestExplainReadsStandardInput(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	var out syncBuffer
	err := run(t.Context(), []string{"explain", "-c", p.yaml, "--output", "json", "-"}, strings.NewReader(lead("1", "+14155550101", "")), &out, io.Discard, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if got := decoded[[]explained](t, out.String()); len(got) != 1 || got[0].Intent != consumer.Key("sales", "/crm", "1") || got[0].Result != resultSent {
		t.Errorf("got %+v, want one event with its intent", got)
	}
}
