package pacingtest

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"
)

// Stats are the results of one client in one scenario, by seed.
type Stats struct {
	Runs   []Result
	Oracle []Result // of the same seeds
}

// Lab runs scenarios, each with Seeds seeds.
type Lab struct {
	Seeds int
	// Bubble calls a function in which time.Sleep is virtual. Clients with a
	// breaker need it, for a breaker has a clock of its own.
	Bubble func(func())

	mu      sync.Mutex
	oracles map[string][]Result
}

// run measures a client that make returns.
func (l *Lab) run(sc Scenario, client func() Client) Stats {
	return Stats{Runs: l.each(sc, client), Oracle: l.oracle(sc)}
}

// each runs a client with each seed, on all processors.
func (l *Lab) each(sc Scenario, client func() Client) []Result {
	runs := make([]Result, l.Seeds)
	if breaks(client()) {
		for seed := range runs {
			l.Bubble(func() { runs[seed] = Run(sc, uint64(seed), client(), time.Sleep) })
		}
		return runs
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				runs[seed] = Run(sc, uint64(seed), client(), nil)
			}
		})
	}
	for seed := range runs {
		next <- seed
	}
	close(next)
	wg.Wait()
	return runs
}

// breaks reports whether a client has a breaker.
func breaks(c Client) bool {
	w, ok := c.(*weir)
	return ok && w.o.Breaker
}

// oracle returns the oracle's results, which depend on the calls alone.
func (l *Lab) oracle(sc Scenario) []Result {
	sc.Partial, sc.Headers, sc.Lag, sc.RetryAfter = false, false, 0, 0
	key := fmt.Sprintf("%+v", sc)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.oracles == nil {
		l.oracles = make(map[string][]Result)
	}
	if l.oracles[key] == nil {
		l.oracles[key] = l.each(sc, Oracle)
	}
	return l.oracles[key]
}

// Figure is a mean with its standard error.
type Figure struct{ Mean, Err float64 }

// figure returns mean and standard error of a value over the seeds.
func (s Stats) figure(value func(r, oracle Result) float64) Figure {
	n := float64(len(s.Runs))
	var f Figure
	for i, r := range s.Runs {
		f.Mean += value(r, s.Oracle[i]) / n
	}
	if n < 2 {
		return f
	}
	var sum float64
	for i, r := range s.Runs {
		d := value(r, s.Oracle[i]) - f.Mean
		sum += d * d
	}
	f.Err = math.Sqrt(sum / (n - 1) / n)
	return f
}

// String writes a figure to two digits.
func (f Figure) String() string { return f.format(2) }

// format writes a figure; an error that would be shown as 0 is left out.
func (f Figure) format(digits int) string {
	if f.Err < 0.5*math.Pow10(-digits) {
		return fmt.Sprintf("%.*f", digits, f.Mean)
	}
	return fmt.Sprintf("%.*f ±%.*f", digits, f.Mean, digits, f.Err)
}

// What is measured of one run, beside the oracle's with the same seed.
func ratioOf(r, oracle Result) float64 {
	return 100 * oracle.Makespan.Seconds() / r.Makespan.Seconds()
}
func perCall(r, _ Result) float64  { return r.PerCall() }
func refused(r, _ Result) float64  { return r.RefusedPer100() }
func meanWait(r, _ Result) float64 { return r.MeanWait() }
func halfWait(r, _ Result) float64 { return r.Wait(0.5) }
func longWait(r, _ Result) float64 { return r.Wait(0.99) }
func busy(r, _ Result) float64     { return 100 * r.Busy }
func filled(r, _ Result) float64   { return r.Filled.Seconds() }
func afterCut(r, _ Result) float64 { return float64(r.AfterCut) }
func inOutage(r, _ Result) float64 { return float64(r.InOutage) }
func atOutage(r, _ Result) float64 { return float64(r.AtOutage) }

// kappa is what the bound speaks of: 2 L times the share that is lost, times the
// requests for each call, less those that any client has to make.
func kappa(limit int, free float64) func(r, oracle Result) float64 {
	return func(r, oracle Result) float64 {
		return 2 * float64(limit) * (1 - ratioOf(r, oracle)/100) * (r.PerCall() - free)
	}
}
