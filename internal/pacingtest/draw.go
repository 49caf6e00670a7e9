package pacingtest

import (
	"math"
	"math/rand/v2"
	"time"
)

// MeanCall is how long a call lasts on average: 0.45 * 25 s + 0.25 * 60 s + 0.3 *
// 150 s.
const MeanCall = 71250 * time.Millisecond

// lognormal draws from the law with this mean and coefficient of variation.
func lognormal(rng *rand.Rand, mean, cv float64) float64 {
	s2 := math.Log(1 + cv*cv)
	return mean * math.Exp(math.Sqrt(s2)*rng.NormFloat64()-s2/2)
}

// callLength draws the length of one call.
func callLength(rng *rand.Rand) time.Duration {
	var s float64
	switch u := rng.Float64(); {
	case u < 0.45:
		s = 25 + 2*rng.NormFloat64()
	case u < 0.70:
		s = lognormal(rng, 60, 0.4)
	default:
		s = lognormal(rng, 150, 0.66)
	}
	return time.Duration(max(1, s) * float64(time.Second))
}

// seconds returns s seconds.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
