package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// State is how far a run has come, over all times it was started. It is what
// state.json holds.
type State struct {
	V      int    `json:"v"` // of the format: 1
	Seed   uint64 `json:"seed"`
	Rounds int    `json:"rounds"` // that were checked or given up; the next one's number

	// Open is the kind of cluster of a round that is under way. A run that finds
	// it set was cut: that round's store is put aside with what it holds.
	Open        string         `json:"open,omitempty"`
	Generations map[string]int `json:"generations"` // stores of a kind that were put aside

	Total  Tally            `json:"total"`
	Faults map[string]Tally `json:"faults"`
}

// Tally is what rounds came to. That of a fault sums whole rounds in which it
// was: a round has several, and what happened in it counts for each.
type Tally struct {
	Rounds   int          `json:"rounds"`
	Injected int          `json:"injected"`
	Events   int          `json:"events"`
	Found    map[Find]int `json:"found"` // findings, by kind
	Doubts   int          `json:"doubts"`
	Dead     int          `json:"dead"`
}

// LoadState reads the state of a run, a new one with this seed if there is none.
func LoadState(path string, seed uint64) (*State, error) {
	s := &State{V: 1, Seed: seed, Generations: map[string]int{}, Faults: map[string]Tally{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err == nil && s.V != 1 {
		err = fmt.Errorf("its format is %d, this program knows 1", s.V)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of the run: %w", err)
	}
	return s, nil
}

// Save replaces the file.
func (s *State) Save(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = replace(path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("save the state of the run: %w", err)
	}
	return nil
}

// replace writes a file beside path, syncs it and puts it in its place.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".state-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// Add sums up a round: how often each of its faults was injected, and the
// verdict.
func (s *State) Add(injected map[string]int, v Verdict) {
	s.Total.add(0, v)
	for name, n := range injected {
		t := s.Faults[name]
		t.add(n, v)
		s.Faults[name] = t
		s.Total.Injected += n
	}
}

func (t *Tally) add(injected int, v Verdict) {
	t.Rounds++
	t.Injected += injected
	t.Events += v.Events
	t.Doubts += v.Doubts
	t.Dead += v.Dead
	if t.Found == nil {
		t.Found = map[Find]int{}
	}
	for _, f := range v.Findings {
		t.Found[f.Kind]++
	}
}

// Findings is how many findings of any kind there were.
func (t Tally) Findings() (n int) {
	for _, k := range t.Found {
		n += k
	}
	return n
}

// elections are the faults that make a cluster elect a leader.
var elections = []string{"leader-stepdown", "leader-kill", "leader-stop", "quorum-lost", "cluster-kill"}

// Sums tells in one line how far the run has come.
func (s *State) Sums() string {
	led := 0
	for _, name := range elections {
		led += s.Faults[name].Injected
	}
	cuts := s.Faults["power-cut"].Injected
	return fmt.Sprintf("%d rounds, %d events, %d elections, %d power cuts, %d other faults, %d doubts, %d dead, %d findings",
		s.Total.Rounds, s.Total.Events, led, cuts, s.Total.Injected-led-cuts, s.Total.Doubts, s.Total.Dead, s.Total.Findings())
}

// Print writes the table: a line for each fault, and the sum.
func (s *State) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FAULT\tROUNDS\tINJECTED\tEVENTS\tDOUBTS\tDEAD\tLOST\tDOUBLED\tOVER\tOTHER")
	row := func(name string, t Tally) {
		other := t.Findings() - t.Found[Lost] - t.Found[Doubled] - t.Found[Over]
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", name, t.Rounds, t.Injected, t.Events, t.Doubts, t.Dead,
			t.Found[Lost], t.Found[Doubled], t.Found[Over], other)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Faults)) {
		row(name, s.Faults[name])
	}
	row("all rounds", s.Total)
	return tw.Flush()
}
