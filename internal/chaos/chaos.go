// Package chaos is what a run of real processes under faults needs: a proxy that
// breaks connections, processes that are killed and stopped, a plan that a seed
// decides, a history of what was done, a state from which a later run goes on,
// and a checker that compares what the provider's log, the ledger and the streams
// say afterwards. It knows nothing of how weir is started; the driver does.
//
// # Rounds
//
// A run is a row of rounds. In each one events are published while faults
// strike; then everything is healed, and when the last event has come to its end
// the round is checked. Which faults a round has follows from the seed of the run
// and the number of the round alone (Picks), so that a round can be had again;
// the moments at which they strike are those of real processes and are not
// repeated to the microsecond.
//
// # Files
//
// A run has a folder of its own. history.ndjson has a line for each thing that
// was done or seen (Record) and is only ever appended to. state.json (State) is
// replaced after each round, so that a run that ends at any moment, be it by a
// power cut, goes on behind the last round that was checked.
package chaos

import (
	"hash/fnv"
	"math/rand/v2"
)

// Picks returns n of names for a round. A shuffled order of the names, another
// one each time they have all had their turn, is dealt to the rounds, so that
// none is left out and each comes together with others. stream tells apart what
// is drawn from the same seed.
func Picks(seed uint64, stream string, round, n int, names []string) []string {
	if len(names) == 0 {
		return nil
	}
	var picks []string
	for i := round * n; i < round*n+n; i++ {
		turn, place := i/len(names), i%len(names)
		order := Draws(seed, stream, turn).Perm(len(names))
		picks = append(picks, names[order[place]])
	}
	return picks
}

// Draws returns the random numbers of a round, of which each stream has its own.
func Draws(seed uint64, stream string, round int) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream))
	return rand.New(rand.NewPCG(seed, h.Sum64()+uint64(round)))
}
