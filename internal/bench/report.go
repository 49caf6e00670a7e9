package bench

import (
	"encoding/json"
	"fmt"
	"time"
)

// Report is one run of weir bench.
type Report struct {
	Date    string   `json:"date"`
	Version string   `json:"version"`
	Command string   `json:"command"`
	Machine Machine  `json:"machine"`
	Load    Load     `json:"load"`
	Cells   []Cell   `json:"cells"`
	Goals   []Goal   `json:"goals"`
	Took    Duration `json:"took_seconds"`
}

// Load is what a run has to do.
type Load struct {
	Events  int      `json:"events"` // of each round, of all lanes together
	Size    int      `json:"size"`   // bytes of an event
	Latency Duration `json:"latency_seconds"`
	Rounds  int      `json:"rounds"`
	Probes  int      `json:"probes"` // events that are sent one by one
	Workers int      `json:"workers"`
}

// Duration is a time that is written in seconds.
type Duration time.Duration

// MarshalJSON writes seconds.
func (d Duration) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%g", time.Duration(d).Seconds()), nil
}

// UnmarshalJSON reads seconds.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var s float64
	err := json.Unmarshal(text, &s)
	*d = Duration(seconds(s))
	return err
}

// Cell is what was measured with one number of lanes, one batch and one broker.
type Cell struct {
	Lanes int    `json:"lanes"`
	Batch int    `json:"batch"`
	Sync  string `json:"sync"`

	// Events a second, by round.
	Weir     Series `json:"weir_rate"`
	Loop     Series `json:"loop_rate"`
	Writes   Series `json:"writes_rate"`
	Requests Series `json:"requests_rate"`

	// From the publish to the first byte at the provider, one event at a time; and one
	// publish and one compare-and-set in between.
	Alone   Quantiles `json:"alone"`
	Pair    Quantiles `json:"pair"`
	Publish Quantiles `json:"pair_publish"`
	CAS     Quantiles `json:"pair_cas"`
	// The same under load, from the moment at which the publish was due.
	Loaded   Quantiles `json:"loaded"`
	LoadRate float64   `json:"loaded_rate"` // events a second

	// Durable writes of an event, by stream, beside its own publish.
	ToAck map[string]float64 `json:"writes_to_ack"`
	ToEnd map[string]float64 `json:"writes_to_end"`

	// Requests of an event: for its conversation, and until its end is known.
	Creates  float64 `json:"creates_per_event"`
	Looks    float64 `json:"looks_to_end_per_event"`
	AtOnce   int     `json:"requests_at_once"`      // most that the provider saw of Weir
	LoopMost int     `json:"loop_requests_at_once"` // and of the loop

	Cost Cost `json:"cost"`
}

// Cost is what one event costs.
type Cost struct {
	Known    bool     `json:"known"` // the system tells
	Weir     Duration `json:"cpu_weir_seconds"`
	Broker   Duration `json:"cpu_broker_seconds"`
	Provider Duration `json:"cpu_provider_seconds"`
	Loop     Duration `json:"cpu_loop_seconds"`          // of the bare loop
	LoopBy   Duration `json:"cpu_loop_broker_seconds"`   // of its broker
	Writes   Duration `json:"cpu_writes_seconds"`        // of the writes alone
	WritesBy Duration `json:"cpu_writes_broker_seconds"` // of their broker
	Allocs   float64  `json:"allocations"`               // of the whole process, libraries included
	Bytes    float64  `json:"allocated_bytes"`
	Peak     int64    `json:"peak_memory_bytes"` // of weir serve
	Way      Way      `json:"way"`
}

// Name says which cell it is.
func (c Cell) Name() string {
	return fmt.Sprintf("%s, batch %d, sync %s", plural(c.Lanes, "lane"), c.Batch, c.Sync)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Goal is one of the goals, as one cell met it.
type Goal struct {
	Cell    string  `json:"cell"`
	What    string  `json:"what"`
	AtLeast bool    `json:"at_least"` // else at most
	Asked   float64 `json:"asked"`
	Got     float64 `json:"got"`
	Least   float64 `json:"least,omitzero"` // of the rounds
	Most    float64 `json:"most,omitzero"`
	Met     bool    `json:"met"`
}

// The goals, on two cores with the broker and a provider without a limit that
// answers after 5 ms.
const (
	mostToAck     = 3   // durable writes of an event until it is acknowledged
	mostToEnd     = 5   // and until the end of its call is told
	leastOfWrites = .70 // of the rate of the writes alone, with each write synced
	leastOfLoop   = .60 // of the rate of the bare loop, with a broker that syncs in the background
	mostOfPair    = 3   // times one publish and one compare-and-set
	mostOwn       = 60  // allocations in Weir's own functions from the fetch to the first byte
)

// Goals are the goals that the cell is held to.
func (c Cell) Goals() []Goal {
	var all []Goal
	most := func(what string, asked, got float64) {
		all = append(all, Goal{Cell: c.Name(), What: what, Asked: asked, Got: got, Met: got <= asked})
	}
	rate := func(what string, asked float64, ratios Series) {
		least, greatest := ratios.Spread()
		got := ratios.Median()
		all = append(all, Goal{Cell: c.Name(), What: what, AtLeast: true, Asked: asked, Got: got, Least: least, Most: greatest, Met: got >= asked})
	}
	most("durable writes to the ack", mostToAck, sum(c.ToAck))
	most("durable writes to the end of the call", mostToEnd, sum(c.ToEnd))
	if c.Sync == SyncAlways {
		rate("rate, of that of the same writes alone", leastOfWrites, c.Weir.Through(c.Writes))
		first := func(name string, weir, pair time.Duration) {
			most("publish to first byte, "+name+", in publishes with a compare-and-set", mostOfPair, float64(weir)/float64(max(1, pair)))
		}
		first("p50", c.Alone.P50, c.Pair.P50)
		if c.Alone.N >= enough99 {
			first("p99", c.Alone.P99, c.Pair.P99)
		}
	} else {
		rate("rate, of that of the bare loop", leastOfLoop, c.Weir.Through(c.Loop))
	}
	most("allocations in weir's own functions, fetch to first byte", mostOwn, c.Cost.Way.Own)
	return all
}

func sum(by map[string]float64) float64 {
	total := 0.0
	for _, n := range by {
		total += n
	}
	return total
}
