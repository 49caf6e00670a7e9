package pacingtest

import (
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		got   Figure
		want  float64
		least bool
		text  string
	}{
		{Figure{1, 0.1}, 1, false, "met"},
		{Figure{1, 0.1}, 1, true, "met"},
		{Figure{1.1, 0.1}, 1, false, "met within two standard errors"},
		{Figure{0.9, 0.1}, 1, true, "met within two standard errors"},
		{Figure{1.21, 0.1}, 1, false, "**missed**"},
		{Figure{0.79, 0.1}, 1, true, "**missed**"},
		{Figure{1.01, 0}, 1, false, "**missed**"},
	}
	for _, tt := range tests {
		if got := (target{got: tt.got, want: tt.want, least: tt.least}).verdict(); got != tt.text {
			t.Errorf("%v of %v, least %v: got %q, want %q", tt.got, tt.want, tt.least, got, tt.text)
		}
	}
}

func TestFigure(t *testing.T) {
	t.Parallel()
	s := Stats{
		Runs:   []Result{{Makespan: 100 * time.Second}, {Makespan: 200 * time.Second}, {Makespan: 150 * time.Second}},
		Oracle: []Result{{Makespan: 90 * time.Second}, {Makespan: 190 * time.Second}, {Makespan: 141 * time.Second}},
	}
	// 90, 95 and 94: mean 93, deviations 3, 2 and 1, so sqrt(14/2/3) = 1.53.
	if got := s.figure(ratioOf).String(); got != "93.00 ±1.53" {
		t.Errorf("got %s, want 93.00 ±1.53", got)
	}
	if got := (Figure{1.5, 0.001}).String(); got != "1.50" {
		t.Errorf("got %s, want an error of 0 left out", got)
	}
}

// A table has a cell for each scenario, and a dash where a client cannot be.
func TestTable(t *testing.T) {
	t.Parallel()
	l := &Lab{Seeds: 1}
	head, scenarios := columns(Scenario{Limit: 5, Backlog: 20})
	got := l.table(head, scenarios, []entrant{others()[0], pacers()[0]}, efficiency)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 4 || lines[0] != "| client | A+H | B+H | A+N | B+N |" || lines[1] != "|---|---|---|---|---|" {
		t.Fatalf("got\n%s", got)
	}
	if !strings.HasPrefix(lines[2], "| oracle (P6) | 100.00 / ") || !strings.HasSuffix(lines[3], " | – | – |") {
		t.Errorf("got\n%s", got)
	}
}
