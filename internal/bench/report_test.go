package bench_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/bench"
)

// cell is one whose figures are easy to check.
func cell(sync string) bench.Cell {
	return bench.Cell{
		Lanes: 1, Batch: 20, Sync: sync,
		Weir: bench.Series{60, 70, 90}, Loop: bench.Series{100, 100, 100}, Writes: bench.Series{100, 100, 100}, Requests: bench.Series{200, 200, 200},
		Alone: bench.Quantiles{N: 100, P50: 4 * time.Millisecond, P99: 12 * time.Millisecond},
		Pair:  bench.Quantiles{N: 99, P50: 2 * time.Millisecond, P99: 3 * time.Millisecond},
		ToAck: map[string]float64{"KV_WEIR_LEDGER": 2, "WEIR_OUTCOMES": 1},
		ToEnd: map[string]float64{"KV_WEIR_LEDGER": 3.5, "WEIR_OUTCOMES": 2},
		Cost:  bench.Cost{Way: bench.Way{Own: 61.5, Libraries: 9, Top: []bench.FunctionUse{{Name: "schema.Decode", Allocations: 61.5}}}},
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	lines := func(c bench.Cell) (all []string) {
		for _, g := range c.Goals() {
			all = append(all, strings.Join([]string{g.What, g.AskedText(), g.GotText(), g.Verdict()}, " | "))
		}
		return all
	}
	same := []string{
		"durable writes to the ack | ≤ 3.00 | 3.00 | met",
		"durable writes to the end of the call | ≤ 5.00 | 5.50 | missed by 0.50",
		"",
		"publish to first byte, p50, in publishes with a compare-and-set | ≤ 3.00 | 2.00 | met",
		"publish to first byte, p99, in publishes with a compare-and-set | ≤ 3.00 | 4.00 | missed by 1.00",
		"allocations in weir's own functions, fetch to first byte | ≤ 60.00 | 61.50 | missed by 1.50",
	}
	same[2] = "rate, of that of the same writes alone | ≥ 70 % | 70 % (60 % to 90 %) | met by the median, not in each round"
	if diff := cmp.Diff(same, lines(cell(bench.SyncAlways))); diff != "" {
		t.Errorf("always (-want +got):\n%s", diff)
	}
	slow := cell(bench.SyncBackground) // its pairs are no synced ones
	slow.Weir = bench.Series{50, 55, 58}
	same[2] = "rate, of that of the bare loop | ≥ 60 % | 55 % (50 % to 58 %) | missed by 5 points"
	same = slices.Delete(same, 3, 5)
	if diff := cmp.Diff(same, lines(slow)); diff != "" {
		t.Errorf("background (-want +got):\n%s", diff)
	}
}

// TestPage holds what a reader looks for.
func TestPage(t *testing.T) {
	t.Parallel()
	c := cell(bench.SyncAlways)
	r := bench.Report{
		Date: "2026-11-21", Version: "v1", Command: "weir bench --events 9", Cells: []bench.Cell{c}, Goals: c.Goals(),
		Machine: bench.Machine{System: "linux/amd64", Processor: "any", Cores: 2, Busy: "2.10", Go: "go1.26"},
		Load:    bench.Load{Events: 9, Size: 512, Latency: bench.Duration(5 * time.Millisecond), Rounds: 3, Workers: 8},
	}
	page := r.Page()
	for _, want := range []string{
		"| 1 lane, batch 20, sync always | durable writes to the end of the call | ≤ 5.00 | 5.50 | missed by 0.50 |\n",
		"## 1 lane, batch 20, sync always\n",
		"| weir | 70 | 60 | 90 | 100 % |\n",
		"| the same requests alone | 200 | 200 | 200 | 35 % |\n",
		"| durable writes to the ack | 3.00 (KV_WEIR_LEDGER 2.00, WEIR_OUTCOMES 1.00) |\n",
		"sends 9 events of 512 bytes", "after about 5ms", "(8 for each lane)", "2026-11-21", "go1.26", "2 cores", "`weir bench --events 9`",
		"| publish to first byte, single events | 4.00 ms | 12.00 ms | too few | 0.00 ms | 100 |\n",
		"| one publish and one compare-and-set | 2.00 ms | too few | too few | 0.00 ms | 99 |\n",
		"More than this run wanted",
		"not known on this system", "| schema.Decode | 61.5 |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "%!") {
		t.Errorf("the page has a broken verb:\n%s", page)
	}
}
