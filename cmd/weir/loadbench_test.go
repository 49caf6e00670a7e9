package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/bench"
)

// TestBench runs weir bench as small as it can be: that its parts work together, what
// is counted, and that the page is written. No figure of time is looked at.
func TestBench(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "bench", "--output", "json", "--events", "30", "--rounds", "1", "--probes", "3",
		"--lanes", "2", "--batch", "5", "--sync", "background", "--latency", "1ms", "--page", page, "--date", "2026-11-21")
	cmd.Env = append(os.Environ(), asWeir+"=1", "TMPDIR="+dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	var r bench.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if len(r.Cells) != 1 || len(r.Goals) == 0 {
		t.Fatalf("got %d cells with %d goals, want 1 with some", len(r.Cells), len(r.Goals))
	}
	c := r.Cells[0]
	want := bench.Cell{
		Lanes: 2, Batch: 5, Sync: bench.SyncBackground,
		ToAck: map[string]float64{"KV_WEIR_LEDGER": 2, "WEIR_OUTCOMES": 1},
		ToEnd: map[string]float64{"KV_WEIR_LEDGER": 3, "WEIR_OUTCOMES": 2},
	}
	got := bench.Cell{Lanes: c.Lanes, Batch: c.Batch, Sync: c.Sync, ToAck: c.ToAck, ToEnd: c.ToEnd}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Alone.N != 3 || c.Pair.N != 3 || c.Loaded.N != 30 || c.Alone.P50 <= 0 || c.Pair.P50 <= 0 || c.Loaded.P50 <= 0 {
		t.Errorf("times: got %+v, %+v, %+v; want 3, 3 and 30, all of them above 0", c.Alone, c.Pair, c.Loaded)
	}
	for name, series := range map[string]bench.Series{"weir": c.Weir, "loop": c.Loop, "writes": c.Writes, "requests": c.Requests} {
		if len(series) != 1 || series[0] <= 0 {
			t.Errorf("rate of %s: got %v, want one above 0", name, series)
		}
	}
	if c.Creates < 1./5 || c.Creates > 1 {
		t.Errorf("got %v requests an event, want one for 1 to 5 events", c.Creates)
	}
	if way := c.Cost.Way; c.Cost.Allocs <= 0 || c.Cost.Peak <= 0 || !c.Cost.Known || way.Own <= 0 || way.Libraries <= 0 || len(way.Top) == 0 {
		t.Errorf("cost: got %+v, want all of it", c.Cost)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "2 lanes, batch 5, sync background") {
		t.Errorf("page: %v\n%s", err, text)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "weir-bench-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchEnds interrupts weir bench, and kills it: none of its processes is left.
func TestBenchEnds(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"interrupt": syscall.SIGINT, "kill": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := child(t, map[string]string{"TMPDIR": dir}, "bench", "--events", "1000", "--rounds", "9", "--lanes", "2")
			of := func() int { return processesOf(t, "TMPDIR="+dir) }
			await(t, patience, "five processes: two brokers, provider, weir serve and itself", func() bool { return of() == 5 })
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			await(t, patience, "no process left", func() bool { return of() == 0 })
			if signal != syscall.SIGINT {
				return
			}
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 130 {
				t.Errorf("got %v, want exit code 130", err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "weir-bench-*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// processesOf counts the processes with a word in their environment.
func processesOf(t *testing.T, word string) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if env, err := os.ReadFile(file); err == nil && slices.Contains(strings.Split(string(env), "\x00"), word) {
			n++
		}
	}
	return n
}

func TestBenchRefuses(t *testing.T) {
	t.Parallel()
	_, _, err := weir(t.Context(), nil, "bench", "--events", "0", "--size", "1", "--lanes", "0,3", "--batch", "101", "--rounds", "0", "--probes", "0", "--date", "today")
	if exitCode(err, &bytes.Buffer{}) != 2 {
		t.Fatalf("got %v, want wrong use", err)
	}
	for _, want := range []string{"--events: 0", "--size: 1", "--lanes: 0", "--batch: 101", "--rounds: 0", "--probes: 0", `--date: "today"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	_, _, err = weir(t.Context(), nil, "bench", "--events", "5000", "--lanes", "1")
	if err == nil || !strings.Contains(err.Error(), "fewer events or rounds") {
		t.Errorf("got %v, want that a lane takes no more", err)
	}
}

// TestBenchDocument reads the examples of docs/bench.md as weir would: to run them
// takes minutes.
func TestBenchDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs", "bench.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "weir" || words[1] != "bench" {
			continue
		}
		found++
		var flags cli
		parser, err := kong.New(&flags)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(words[1:]); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
		} else if err := flags.Bench.check(); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
		}
	}
	if found < 3 {
		t.Errorf("got %d examples, want at least 3", found)
	}
}
