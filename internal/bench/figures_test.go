package bench_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirhq/weir/internal/bench"
)

func TestSeries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		series              bench.Series
		median, least, most float64
	}{
		{nil, 0, 0, 0},
		{bench.Series{4}, 4, 4, 4},
		{bench.Series{9, 1, 5}, 5, 1, 9},
		{bench.Series{9, 1, 5, 7}, 6, 1, 9},
	}
	for _, tt := range tests {
		least, most := tt.series.Spread()
		if got := tt.series.Median(); got != tt.median || least != tt.least || most != tt.most {
			t.Errorf("%v: got median %v, %v to %v; want %v, %v to %v", tt.series, got, least, most, tt.median, tt.least, tt.most)
		}
	}
}

// The median of the ratios is not the ratio of the medians.
func TestSeriesThrough(t *testing.T) {
	t.Parallel()
	ratios := bench.Series{10, 40, 90}.Through(bench.Series{20, 50, 30})
	if diff := cmp.Diff(bench.Series{.5, .8, 3}, ratios); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeriesThen(t *testing.T) {
	t.Parallel()
	rates := bench.Series{100, 60}.Then(bench.Series{100, 30})
	if diff := cmp.Diff(bench.Series{50, 20}, rates, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	all := make([]time.Duration, 1000)
	for i := range all {
		all[i] = time.Duration(1000-i) * time.Millisecond
	}
	want := bench.Quantiles{N: 1000, P50: 500 * time.Millisecond, P99: 990 * time.Millisecond, P999: 999 * time.Millisecond, Max: time.Second}
	if diff := cmp.Diff(want, bench.QuantilesOf(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	one := bench.Quantiles{N: 1, P50: 1, P99: 1, P999: 1, Max: 1}
	if diff := cmp.Diff(one, bench.QuantilesOf([]time.Duration{1})); diff != "" {
		t.Errorf("of one (-want +got):\n%s", diff)
	}
	if got := bench.QuantilesOf(nil); got != (bench.Quantiles{}) {
		t.Errorf("of none: got %+v, want zero", got)
	}
	text, err := json.Marshal(want)
	if want := `{"n":1000,"p50_seconds":0.5,"p99_seconds":0.99,"p999_seconds":0.999,"max_seconds":1}`; string(text) != want || err != nil {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	for _, size := range []int{bench.LeastSize, 512, 100_000} {
		event := bench.Event(9_999_999, size)
		if len(event) != size || !json.Valid(event) {
			t.Errorf("size %d: got %d bytes, valid %v", size, len(event), json.Valid(event))
		}
	}
}
