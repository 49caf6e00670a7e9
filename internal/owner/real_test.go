package owner_test

import (
	"testing"
	"time"
)

// TestRealTime lets replicas come, go and die in real time, for the race detector.
func TestRealTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.ttl = time.Second
	w.set(func() { w.drain = func() time.Duration { return 20 * time.Millisecond } })
	a, b := w.start("a", 1), w.start("b", 1)
	w.start("c", 1)
	wait := func(what string) { w.within(time.Minute, what, w.settled) }
	wait("three have all")
	a.leave()
	<-a.done
	wait("two have all")
	b.kill()
	wait("one has all")
	w.start("d", 1)
	wait("the new one has its share")
	w.end()
}
