package simulator

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"
)

// The bounds of a call before scaling. At the longest the agent hangs up.
const (
	shortest = time.Second
	longest  = 10 * time.Minute
)

// The streams of random numbers that are drawn from one seed.
const (
	streamCreate uint64 = iota + 1
	streamLookup
	streamCall
	streamAnyreachCreate
	streamAnyreachLookup
	streamAnyreachList
	streamWebhook
)

// draws returns the generator of the n-th thing of a stream. Each is
// independent of every other, so that the order of drawing does not matter.
func draws(seed, stream, n uint64) *rand.Rand {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], stream)
	binary.LittleEndian.PutUint64(key[16:], n)
	return rand.New(rand.NewChaCha8(key))
}

// dealer deals calls their lengths.
type dealer struct {
	seed  uint64
	scale float64
}

// timeline is how a call will go.
type timeline struct {
	dialed   time.Time // when the number is dialled
	joined   time.Time // when the person picks up; zero: never
	ended    time.Time
	capped   bool    // the agent hung up at the longest length
	byPerson bool    // of an answered call: the person hung up
	fate     float64 // 0 to 1, for ends that only one provider tells apart
}

// timeline returns how the n-th call goes that begins now. An answered call
// rings for at most 8 s and at most half its length.
func (d dealer) timeline(n uint64, now time.Time) timeline {
	rng := draws(d.seed, streamCall, n)
	length, answered := draw(rng)
	t := timeline{
		dialed:   now.Add(d.scaled(min(500*time.Millisecond, length/4))),
		ended:    now.Add(d.scaled(length)),
		capped:   length == longest,
		byPerson: rng.Float64() < 0.7,
		fate:     rng.Float64(),
	}
	if answered {
		t.joined = now.Add(d.scaled(min(8*time.Second, length/2)))
	}
	return t
}

// scaled returns the time that a real duration takes here, at least 1 ns so
// that a call always holds its slot for a moment.
func (d dealer) scaled(length time.Duration) time.Duration {
	return max(1, time.Duration(float64(length)/d.scale))
}

// draw returns the length of a call and whether a person answers it: 45 %
// normal with mean 25 s and deviation 2 s (unanswered), 25 % lognormal with
// mean 60 s and variation 0.4, 30 % lognormal with mean 150 s and variation
// 0.66. The mean of all is 0.45*25 + 0.25*60 + 0.30*150 = 71.25 s, before the
// bounds.
func draw(rng *rand.Rand) (length time.Duration, answered bool) {
	kind, normal := rng.Float64(), rng.NormFloat64()
	var seconds float64
	switch {
	case kind < 0.45:
		seconds = 25 + 2*normal
	case kind < 0.70:
		seconds = lognormal(60, 0.4, normal)
	default:
		seconds = lognormal(150, 0.66, normal)
	}
	length = time.Duration(seconds * float64(time.Second))
	return min(max(length, shortest), longest), kind >= 0.45
}

// lognormal turns a standard normal value into a lognormal one with the given
// mean and coefficient of variation.
func lognormal(mean, cv, normal float64) float64 {
	variance := math.Log(1 + cv*cv)
	return math.Exp(math.Log(mean) - variance/2 + math.Sqrt(variance)*normal)
}
