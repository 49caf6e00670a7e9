package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// blank is a screen of this size that writes into b.
func blank(b *syncBuffer, width, height int) *screen {
	return &screen{w: b, size: func() (int, int) { return width, height }}
}

func TestScreenIsPutBack(t *testing.T) {
	t.Parallel()
	news := make(chan struct{})
	for name, end := range map[string]func(cancel func()){
		"interrupted": func(cancel func()) { cancel() },
		"panic":       func(func()) { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out syncBuffer
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var caught any
			func() {
				defer func() { caught = recover() }()
				blank(&out, 10, 3).show(ctx, news, func(int, int) []string { end(cancel); return []string{"hello"} })
			}()
			if got := out.String(); !strings.HasPrefix(got, enterScreen) || !strings.HasSuffix(got, leaveScreen) {
				t.Errorf("got %q, want the terminal as it was", got)
			}
			if (caught != nil) != (name == "panic") {
				t.Errorf("the panic: got %v", caught)
			}
		})
	}
}

func TestScreenFollowsItsSize(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	s := blank(&out, 0, 0)
	sizes := make(chan [2]int, 1)
	size := [2]int{20, 4}
	s.size = func() (int, int) {
		select {
		case size = <-sizes:
		default:
		}
		return size[0], size[1]
	}
	ctx, cancel := context.WithCancel(t.Context())
	drawn := make(chan [2]int, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.show(ctx, nil, func(w, h int) []string { drawn <- [2]int{w, h}; return nil })
	}()
	for _, want := range [][2]int{{20, 4}, {30, 5}} {
		select {
		case got := <-drawn:
			if got != want {
				t.Errorf("drawn for %v, want %v", got, want)
			}
		case <-time.After(patience):
			t.Fatal("nothing was drawn")
		}
		sizes <- [2]int{30, 5}
	}
	cancel()
	<-done
}

func TestScreenDrawsNoMoreThanFits(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	s := blank(&out, 5, 2)
	s.draw([]string{"12345", "1234567", "third"}, 5, 2)
	s.draw([]string{"a"}, 5, 2)
	want := goHome + "12345\r\n1234…" + goHome + "a" + endLine + "\r\n" + endPage
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGauge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n, limit, width int
		want            string
	}{
		{0, 8, 4, "░░░░"}, {4, 8, 4, "██░░"}, {8, 8, 4, "████"}, {1, 100, 4, "█░░░"}, {99, 100, 4, "███░"},
		{9, 8, 4, "███!"}, {3, 0, 4, "    "}, {1, 2, 1, "█"}, {-1, 2, 3, "░░░"},
	} {
		if got := gauge(tt.n, tt.limit, tt.width); got != tt.want {
			t.Errorf("gauge(%d, %d, %d): got %q, want %q", tt.n, tt.limit, tt.width, got, tt.want)
		}
	}
}

// manyRows are lanes of all kinds, with names that are wide, long and plain.
func manyRows(n int) []laneRow {
	var rows []laneRow
	for i := range n {
		r := laneRow{Lane: fmt.Sprintf("lane-%02d", i), Account: fmt.Sprint("a", i), State: "running", Used: i % 9, Limit: 8, Waiting: uint64(i) * 1000}
		switch i % 4 {
		case 1:
			r.Lane, r.State, r.Why = fmt.Sprintf("acme-emea-north-west-and-more-%02d", i), "waiting", "all slots are in use"
		case 2:
			r.State, r.Why = notRunning, "" // nobody runs it
		case 3:
			r.State, r.Why = "stopped", "the provider does not answer well: 佐藤さん \x1b[2J said no, "+strings.Repeat("again and ", 30)
		}
		rows = append(rows, r)
	}
	return rows
}

func TestLanesPageFitsEveryTerminal(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, lanes := range []int{0, 1, 4, 60} {
		for _, coloured := range []brush{false, true} {
			p := &lanesPage{brush: coloured, changed: make(map[string]laneChange)}
			p.look(manyRows(lanes), nil, now)
			for _, size := range [][2]int{{120, 40}, {80, 24}, {40, 15}, {20, 5}, {3, 2}, {1, 1}} {
				lines := p.draw(size[0], size[1])
				var out syncBuffer
				blank(&out, size[0], size[1]).draw(lines, size[0], size[1])
				if size[1] >= 15 && len(lines) > size[1] {
					t.Errorf("%d lanes at %v: got %d lines", lanes, size, len(lines))
				}
				for line := range strings.SplitSeq(strings.NewReplacer(goHome, "", endLine, "", endPage, "").Replace(out.String()), "\r\n") {
					if got := textWidth(line); got > size[0] {
						t.Errorf("%d lanes at %v: a line is %d wide: %q", lanes, size, got, line)
					}
					if strings.Contains(line, "\x1b[2J") || !bool(coloured) && strings.Contains(line, "\x1b") {
						t.Errorf("%d lanes at %v: a line commands the terminal: %q", lanes, size, line)
					}
				}
			}
		}
	}
}

func TestLanesPage(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	p := &lanesPage{changed: make(map[string]laneChange)}
	if got := p.draw(60, 10); len(got) != 3 {
		t.Errorf("before the first look: got %q", got)
	}
	rows := []laneRow{
		{Lane: "sales", Account: "acme", State: "running", Used: 4, Limit: 8, Waiting: 12, InFlight: 3},
		{Lane: "care", Account: "acme", State: "paused", Used: 4, Limit: 8, Why: "by ana: a fair", Doubts: 1, Settling: 1},
		{Lane: "mail", Account: "post", State: notRunning, Limit: 0, Dead: 7},
	}
	p.look(rows, nil, now)
	rows[0].State = "waiting"
	p.look(rows, nil, now.Add(time.Second))
	p.look(rows, nil, now.Add(3*time.Minute))
	want := []string{
		"3 lanes: 1 waiting, 1 paused, 1 not running                             12:03:00",
		"",
		"LANE   STATE                      SLOTS     WAITING  IN FLIGHT  DOUBTS  DEAD  SINCE",
		"sales  waiting      ██████░░░░░░  4/8            12          3       0     0     2m",
		"care   paused       ██████░░░░░░  4/8             0          0       2     0      -",
		"  by ana: a fair",
		"mail   not running                no limit        0          0       0     7      -",
		"",
		"all                               4/8            12          3       2     7",
	}
	got := p.draw(80, 24)
	want[0] = padTo("3 lanes: 1 waiting, 1 paused, 1 not running", 71) + " 12:03:00"
	for i, line := range want[2:] { // at 80 the widest table does not fit
		want[i+2] = line
	}
	if diff := cmp.Diff(want[:1], got[:1]); diff != "" {
		t.Errorf("title (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[2:], p.draw(100, 24)[2:]); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if strings.Contains(got[2], "IN FLIGHT") {
		t.Errorf("at 80 places: got %q, want what is least needed left out", got[2])
	}
	p.look(nil, errors.New("no\nservers"), now)
	if got := p.draw(80, 24); got[2] != "no servers" || !strings.Contains(strings.Join(got, "\n"), "care ") {
		t.Errorf("while the broker is away: got %q, want that, and the lanes as they were", got)
	}
}

// What stands still is seen even if not all lanes are.
func TestLanesPageShowsTroubleFirst(t *testing.T) {
	t.Parallel()
	p := &lanesPage{changed: make(map[string]laneChange)}
	rows := manyRows(0)
	for i := range 30 {
		rows = append(rows, laneRow{Lane: fmt.Sprintf("lane-%02d", i), State: "running", Limit: 8, Why: "a note"})
	}
	rows[29].State = "stopped"
	p.look(rows, nil, time.Now())
	lines := p.draw(80, 15)
	if len(lines) != 15 || !strings.HasPrefix(lines[3], "lane-29  stopped") || !strings.HasPrefix(lines[12], "… and 21 more") {
		t.Errorf("got %d lines:\n%s\nwant the one that is stopped first, and how many are left out", len(lines), strings.Join(lines, "\n"))
	}
}

func TestDemoPage(t *testing.T) {
	t.Parallel()
	p := &demoPage{began: time.Now()}
	now := demoNow{lane: "acme-sales", live: 3, limit: 6, waiting: 5, made: 9, full: 2}
	now.status.State = "running"
	p.look(now)
	for i := range 50 {
		p.tell(fmt.Sprintf("line %d\x1b[2J", i))
	}
	for _, size := range [][2]int{{120, 40}, {80, 24}, {40, 15}, {10, 3}} {
		lines := p.draw(size[0], size[1])
		if size[1] > 5 && (len(lines) != size[1] || !strings.HasPrefix(lines[len(lines)-1], "line 49 ")) {
			t.Errorf("at %v: got %d lines, the last %q; want the newest of the story", size, len(lines), lines[len(lines)-1])
		}
		for _, line := range lines {
			if textWidth(line) > size[0] && size[0] > 20 {
				t.Errorf("at %v: a line is too wide: %q", size, line)
			}
		}
	}
	var out, after syncBuffer
	leave := p.showOn(t.Context(), blank(&out, 80, 24), &after)
	await(t, patience, "the page to be drawn", func() bool { return strings.Contains(out.String(), "acme-sales") })
	leave()
	leave()
	if n := strings.Count(after.String(), "line "); n != 50 || !strings.HasSuffix(out.String(), leaveScreen) {
		t.Errorf("after it was left: got %d lines of the story, want 50, once, on the terminal as it was", n)
	}
}
