package owner_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs one test in one world.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 7)
		f(w)
		w.end()
	})
}

// holders returns who has what.
func (w *world) holders() map[string]string {
	all := make(map[string]string)
	for _, d := range duties {
		if h := w.holder(d); h != nil {
			all[d] = h.name
		}
	}
	return all
}

// begun returns how often duties were begun.
func (w *world) begun(duty string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.runs[duty])
}

// run returns the nth time that a duty was begun.
func (w *world) run(duty string, n int) *run {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs[duty][n]
}

// replicas starts some and waits until the duties are shared out.
func (w *world) replicas(names ...string) []*host {
	var all []*host
	for _, name := range names {
		all = append(all, w.start(name, 1))
	}
	w.within(10*time.Second, "the duties are shared out", w.settled)
	time.Sleep(w.ttl)
	return all
}

// owner returns a replica that has an account, and one that has not.
func (w *world) owner(duty string, all []*host) (has, other *host) {
	has = w.holder(duty)
	for _, h := range all {
		if h != has {
			other = h
		}
	}
	return has, other
}

func TestFirstStartIsAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		w.start("a", 1)
		w.within(time.Second, "the only one has all", w.settled)
	})
}

func TestKill(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.replicas("a", "b", "c")
		all[0].kill()
		w.within(w.ttl+time.Second, "others have what the dead one had", w.settled)
	})
}

func TestLeave(t *testing.T) {
	bubble(t, func(w *world) {
		w.set(func() { w.drain = func() time.Duration { return 100 * time.Millisecond } })
		all := w.replicas("a", "b", "c")
		all[0].leave()
		w.within(time.Second, "others have what the leaving one had", func() bool { return all[0].left.Load() && w.settled() })
		w.inTurn(t)
	})
}

// inTurn fails if a duty was begun before the Do before it had returned.
func (w *world) inTurn(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.history {
		if strings.Contains(line, " still does it") {
			t.Error(line)
		}
	}
}

func TestJoin(t *testing.T) {
	bubble(t, func(w *world) {
		w.set(func() { w.drain = func() time.Duration { return 100 * time.Millisecond } })
		w.replicas("a", "b")
		w.start("c", 1)
		time.Sleep(100 * time.Millisecond)
		w.within(4*time.Second, "the new one has its share", w.settled)
		w.inTurn(t)
	})
}

// TestMoves lets replicas come and go: a duty moves to one that comes, or away
// from one that goes, and no further.
func TestMoves(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("a", "b", "c")
		for i := range 16 {
			before, begun := w.holders(), make(map[string]int)
			for _, d := range duties {
				begun[d] = w.begun(d)
			}
			var who string
			w.mu.Lock()
			living := w.living()
			w.mu.Unlock()
			if i%2 == 0 {
				who = fmt.Sprint("n", i)
				w.start(who, 1)
			} else {
				h := living[w.rng.IntN(len(living))]
				who = h.name
				h.leave()
			}
			time.Sleep(2 * w.ttl)
			after := w.holders()
			for _, d := range duties {
				moved, times := before[d] != after[d], w.begun(d)-begun[d]
				if moved && before[d] != who && after[d] != who || times > 1 || times == 1 && !moved {
					w.fail("%s moved from %s to %s in %d steps when %s came or went", d, before[d], after[d], times, who)
				}
			}
			if !w.settled() {
				w.fail("not settled: %s", w.unsettled())
			}
		}
	})
}

func TestFirstIsPreferred(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("a", "b", "c")
		w.start("d", 1, first, "a1", "a2", "a3")
		w.within(5*time.Second, "the preferred one has what it prefers", func() bool {
			had := w.holders()
			return had[first] == "d" && had["a1"] == "d" && had["a2"] == "d" && had["a3"] == "d" && w.settled()
		})
	})
}

// TestNewcomerWaitsForReady lets one join while the state is looked at anew: what
// it wins stays where it is until it may take it.
func TestNewcomerWaitsForReady(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.start("a", 1, first)
		w.start("b", 1, duties[1:]...)
		time.Sleep(3 * w.ttl)
		w.set(func() { w.wait = func() time.Duration { return 20 * time.Second } })
		a.kill()
		w.within(2*w.ttl, "the other one looks at the state", func() bool { return w.hasAll("b") })
		w.start("d", 1, duties[1:]...)
		for began := time.Now(); time.Since(began) < 15*time.Second; time.Sleep(10 * time.Millisecond) {
			for _, d := range duties[1:] {
				if had := w.holders(); had[d] != "b" {
					w.fail("%s is given to one that may not take it: %v", d, had)
					return
				}
			}
		}
		w.within(30*time.Second, "the newcomer has its share", w.settled)
	})
}

func TestTwoTakers(t *testing.T) {
	bubble(t, func(w *world) {
		for i := range 6 {
			w.start(fmt.Sprint("r", i), []float64{0.9, 1, 1.1}[i%3])
		}
		w.within(10*time.Second, "the duties are shared out", w.settled)
		w.holder(first).kill()
		w.within(w.ttl*10/9+time.Second, "and again", w.settled)
	})
}

// TestEndInOrder asks a replica to end that has all: the first duty ends when
// those that come after it have ended.
func TestEndInOrder(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("a", "b")
		has := w.holder(first)
		w.set(func() { w.drain = func() time.Duration { return 3 * w.ttl } })
		has.leave()
		<-has.done
		order := ended(w, has.name)
		if len(order) == 0 || order[len(order)-1] != first {
			t.Errorf("ended in the order %v, want %s last", order, first)
		}
	})
}

// ended returns what a replica has ended, in order.
func ended(w *world, name string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, line := range w.history {
		if _, duty, ok := strings.Cut(line, name+" has ended "); ok {
			all = append(all, duty)
		}
	}
	return all
}

func TestFailingDutyEndsAll(t *testing.T) {
	for _, bad := range []string{first, "a3"} {
		t.Run(bad, func(t *testing.T) {
			bubble(t, func(w *world) {
				h := w.replicas("a")[0]
				broken := errors.New("broken")
				w.set(func() {
					w.fails = func(_ *host, duty string) error {
						if duty == bad {
							return broken
						}
						return nil
					}
				})
				<-h.done
				if !errors.Is(h.err, broken) || !strings.Contains(h.err.Error(), bad) {
					t.Errorf("got %v, want the duty's error and its name", h.err)
				}
				order := ended(w, "a")
				want := len(duties) - 1
				if bad != first && order[len(order)-1] != first {
					t.Errorf("ended in the order %v, want %s last", order, first)
				}
				if slices.Contains(order, bad) || len(order) != want {
					t.Errorf("ended %v, want all others", order)
				}
			})
		})
	}
}

// TestEndWithoutBroker asks a replica to end that has all, while the broker is
// away.
func TestEndWithoutBroker(t *testing.T) {
	for _, ttl := range []time.Duration{5 * time.Second, 20 * time.Second} {
		t.Run(ttl.String(), func(t *testing.T) {
			bubble(t, func(w *world) {
				w.ttl = ttl
				h := w.replicas("a")[0]
				w.store.leave()
				time.Sleep(300 * time.Millisecond)
				h.leave()
				began := time.Now()
				<-h.done
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v, want at most 10 s", took)
				}
			})
		})
	}
}
