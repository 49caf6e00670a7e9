package consumer

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Tolerance is how far this host's clock may be from another's before nothing
// that depends on the time of day is decided by it (H25).
const Tolerance = 30 * time.Second

// Sample is one look at another clock, which showed Shown at some moment between
// Sent and Received.
type Sample struct {
	// Sent and Received are this host's own, from time.Now: their distance is
	// measured by the monotonic clock.
	Sent, Received time.Time
	// Shown is what the other clock showed, cut down to whole Steps.
	Shown time.Time
	Step  time.Duration
}

// Ahead returns the bounds of how far this host's clock is ahead of the other:
// below zero it is behind. The bounds are as far apart as the round trip and the
// other clock's step are long.
func (s Sample) Ahead() (low, high time.Duration) {
	received := s.Received.Round(0)
	sent := received.Add(-max(0, s.Received.Sub(s.Sent))) // as the clock stands now, if it was set meanwhile
	return sent.Sub(s.Shown.Add(s.Step)), received.Sub(s.Shown)
}

// Off returns by how much the two clocks differ at least: above zero this host's
// is ahead, below it is behind, and zero says that they may agree.
func (s Sample) Off() time.Duration {
	low, high := s.Ahead()
	return certain(low, high)
}

func certain(low, high time.Duration) time.Duration {
	return max(low, 0) + min(high, 0)
}

// DateSample reads the Date of an answer to a request that was sent and answered
// at these times. An answer that was kept by something on the way tells the time
// of its making; it is no sample, and neither is one without a date.
func DateSample(header map[string][]string, sent, received time.Time) (Sample, bool) {
	date := header["Date"]
	if len(date) != 1 || len(header["Age"]) > 0 {
		return Sample{}, false
	}
	shown, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", date[0])
	if err != nil {
		return Sample{}, false
	}
	return Sample{Sent: sent, Received: received, Shown: shown, Step: time.Second}, true
}

// Bounds of how long a sample is good for. Between two samples a clock that is
// set is noticed by itself, as it then leaves the monotonic one; what is left is
// a clock that runs too fast or too slow.
const (
	sampleFresh = 5 * time.Minute // a sample that tells less does not take its place before
	sampleGood  = time.Hour
)

// BrokerClock is the name of the clock that a Clock is compared with first.
const BrokerClock = "the broker"

// Clock knows how far this host's clock can be trusted, by samples of the
// broker's clock and of the providers'. Nobody can say which of two clocks that
// differ is right; so where they do, what depends on the time of day waits. Its
// methods may be called concurrently. A nil *Clock believes the host's.
type Clock struct {
	mu     sync.Mutex
	newest map[string]Sample // by the other clock's name
}

// Observe enters a sample of the clock with this name.
func (c *Clock) Observe(name string, s Sample) {
	if c == nil || s.Shown.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == nil {
		c.newest = make(map[string]Sample)
	}
	old, ok := c.newest[name]
	if !ok || s.supersedes(old) {
		c.newest[name] = s
	}
}

// supersedes reports whether s takes the place of an older sample: it tells at
// least as much, or something else, or the older one is no longer fresh.
func (s Sample) supersedes(old Sample) bool {
	low, high := s.Ahead()
	before, after := old.at(s.Received)
	return high-low <= after-before || low > after || high < before || s.Received.Sub(old.Received) > sampleFresh
}

// at returns the bounds as they are now.
func (s Sample) at(now time.Time) (low, high time.Duration) {
	return s.after(now.Round(0).Sub(s.Received.Round(0)), now.Sub(s.Received))
}

// after returns the bounds when this host's time of day is later by day and its
// monotonic clock by elapsed: it was set meanwhile if they differ.
func (s Sample) after(day, elapsed time.Duration) (low, high time.Duration) {
	low, high = s.Ahead()
	return low + day - elapsed, high + day - elapsed
}

// errUncompared is a clock of which nothing is known yet, or for too long.
var errUncompared = errors.New("this machine's clock has not been compared with the broker's")

// Trusted returns nil while this host's clock agrees with the broker's, and with
// each of the named ones that is known, within Tolerance.
func (c *Clock) Trusted(names ...string) error { return c.trusted(time.Now(), names...) }

func (c *Clock) trusted(now time.Time, names ...string) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, err := c.agrees(now, BrokerClock)
	if !known {
		return errUncompared
	}
	for _, name := range names {
		if err == nil {
			_, err = c.agrees(now, name)
		}
	}
	return err
}

// agrees returns what is wrong between this host's clock and one with this name, and
// whether anything is known of that. The caller holds mu.
func (c *Clock) agrees(now time.Time, name string) (known bool, wrong error) {
	s, ok := c.newest[name]
	if !ok || now.Sub(s.Received) > sampleGood {
		return false, nil
	}
	if off := certain(s.at(now)); off.Abs() > Tolerance {
		return true, fmt.Errorf("this machine's clock is %s", Apart(off, name))
	}
	return true, nil
}

// Offset returns how far this host's clock is ahead of the one with this name, as
// near as it is known, and whether it is.
func (c *Clock) Offset(name string) (ahead time.Duration, known bool) {
	low, high, known := c.bounds(name, time.Now())
	return low + (high-low)/2, known
}

func (c *Clock) bounds(name string, now time.Time) (low, high time.Duration, known bool) {
	if c == nil {
		return 0, 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.newest[name]
	if !known {
		return 0, 0, false
	}
	low, high = s.at(now)
	return low, high, true
}

// broker returns the latest that it can be by the broker's clock, and whether
// that is known; else it is this host's. The time has no monotonic part.
func (c *Clock) broker(now time.Time) (time.Time, bool) {
	low, _, known := c.bounds(BrokerClock, now)
	return now.Round(0).Add(-low), known
}

// Apart says in words how far this host's clock is from another: "2m0s ahead of
// the broker's".
func Apart(off time.Duration, name string) string {
	where := "ahead of"
	if off < 0 {
		where = "behind"
	}
	unit := cmp.Or(off.Abs().Round(time.Second), off.Abs().Round(time.Millisecond))
	return fmt.Sprintf("%v %s %s's", unit, where, name)
}
