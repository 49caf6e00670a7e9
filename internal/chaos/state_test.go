package chaos_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/chaos"
)

func TestStateGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	s, err := chaos.LoadState(path, 7)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(map[string]int{"weir-kill": 2, "outage": 1}, chaos.Verdict{Events: 10, Doubts: 3, Dead: 1})
	s.Rounds, s.Open = 1, "one"
	s.Generations["one"] = 2
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := chaos.LoadState(path, 8)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	again.Add(map[string]int{"weir-kill": 1}, chaos.Verdict{Events: 5, Findings: []chaos.Finding{
		{Kind: chaos.Lost}, {Kind: chaos.Doubled}, {Kind: chaos.Doubled}, {Kind: chaos.Stuck},
	}})
	var b bytes.Buffer
	if err := again.Print(&b); err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(b.String()) {
		rows = append(rows, strings.Fields(line))
	}
	want := [][]string{
		strings.Fields("FAULT ROUNDS INJECTED EVENTS DOUBTS DEAD LOST DOUBLED OVER OTHER"),
		strings.Fields("outage 1 1 10 3 1 0 0 0 0"),
		strings.Fields("weir-kill 2 3 15 3 1 1 2 0 1"),
		strings.Fields("all rounds 2 4 15 3 1 1 2 0 1"),
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files %v, %v, want the state alone", left, err)
	}
}

func TestStateOfAnotherFormat(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	for _, text := range []string{`{"v":2}`, `{`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := chaos.LoadState(path, 1); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.ndjson")
	for round := range 2 {
		h, err := chaos.OpenHistory(path, 7)
		if err != nil {
			t.Fatal(err)
		}
		h.Begin(round)
		heal := h.Disturb("weir-stop", "3s")
		if spans := h.Spans(); len(spans) != 1 || !spans[0].To.IsZero() || spans[0].From.IsZero() {
			t.Errorf("spans %v, want one that lasts", spans)
		}
		heal()
		heal()
		if spans := h.Spans(); spans[0].To.Before(spans[0].From) {
			t.Errorf("spans %v, want one that ended", spans)
		}
		open := h.Disturb("outage", "")
		h.Begin(round + 1)
		open() // of a round that is over
		if spans := h.Spans(); len(spans) != 0 {
			t.Errorf("spans %v of the last round", spans)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []chaos.Record
	for line := range strings.Lines(string(data)) {
		var r chaos.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.At.IsZero() {
			t.Errorf("%s has no time", line)
		}
		got = append(got, chaos.Record{Seed: r.Seed, Round: r.Round, Kind: r.Kind, Name: r.Name, Text: r.Text})
	}
	var want []chaos.Record
	for round := range 2 {
		want = append(want,
			chaos.Record{Seed: 7, Round: round, Kind: "fault", Name: "weir-stop", Text: "3s"},
			chaos.Record{Seed: 7, Round: round, Kind: "heal", Name: "weir-stop"},
			chaos.Record{Seed: 7, Round: round, Kind: "fault", Name: "outage"},
		)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestSums(t *testing.T) {
	t.Parallel()
	s := chaos.State{Faults: map[string]chaos.Tally{}}
	v := chaos.Verdict{Events: 5, Doubts: 2, Dead: 1}
	s.Add(map[string]int{"leader-kill": 2, "quorum-lost": 1, "power-cut": 4, "weir-kill": 10}, v)
	s.Add(map[string]int{"leader-kill": 1, "follower-down": 3}, v)
	want := "2 rounds, 10 events, 4 elections, 4 power cuts, 13 other faults, 4 doubts, 2 dead, 0 findings"
	if got := s.Sums(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestHistoryTellsOfAGap(t *testing.T) {
	t.Parallel()
	h, err := chaos.OpenHistory(filepath.Join(t.TempDir(), "h"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h.Note("check", "late", "")
	if err := h.Close(); err == nil || !strings.Contains(err.Error(), "gap") {
		t.Errorf("got %v, want the gap", err)
	}
}
