package bench

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// Series is one figure of several rounds, in their order.
type Series []float64

// Median is the middle one, or the mean of both that are in the middle; 0 of none.
func (s Series) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Spread is the least and the greatest; 0 of none.
func (s Series) Spread() (least, most float64) {
	if len(s) == 0 {
		return 0, 0
	}
	return slices.Min(s), slices.Max(s)
}

// Through divides round by round: what was measured in the same minute.
func (s Series) Through(other Series) Series {
	ratios := make(Series, 0, min(len(s), len(other)))
	for i := range min(len(s), len(other)) {
		ratios = append(ratios, s[i]/other[i])
	}
	return ratios
}

// Then is the rate of doing both, one after the other, round by round.
func (s Series) Then(other Series) Series {
	rates := make(Series, 0, min(len(s), len(other)))
	for i := range min(len(s), len(other)) {
		rates = append(rates, 1/(1/s[i]+1/other[i]))
	}
	return rates
}

// Quantiles are those of some durations, by the nearest rank: of N durations a
// share q is not longer than the one named for it.
type Quantiles struct {
	N                   int
	P50, P99, P999, Max time.Duration
}

// QuantilesOf returns the quantiles; zero of none.
func QuantilesOf(all []time.Duration) Quantiles {
	if len(all) == 0 {
		return Quantiles{}
	}
	sorted := slices.Sorted(slices.Values(all))
	at := func(q float64) time.Duration {
		return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
	}
	return Quantiles{N: len(sorted), P50: at(.5), P99: at(.99), P999: at(.999), Max: sorted[len(sorted)-1]}
}

// quantilesText is how quantiles are written: in seconds.
type quantilesText struct {
	N    int     `json:"n"`
	P50  float64 `json:"p50_seconds"`
	P99  float64 `json:"p99_seconds"`
	P999 float64 `json:"p999_seconds"`
	Max  float64 `json:"max_seconds"`
}

// MarshalJSON writes seconds.
func (q Quantiles) MarshalJSON() ([]byte, error) {
	return json.Marshal(quantilesText{q.N, q.P50.Seconds(), q.P99.Seconds(), q.P999.Seconds(), q.Max.Seconds()})
}

// UnmarshalJSON reads seconds.
func (q *Quantiles) UnmarshalJSON(text []byte) error {
	var s quantilesText
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	*q = Quantiles{N: s.N, P50: seconds(s.P50), P99: seconds(s.P99), P999: seconds(s.P999), Max: seconds(s.Max)}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
