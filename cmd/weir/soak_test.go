//go:build soak

package main

import (
	"math/rand/v2"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/simulator"
)

// TestSoakKill9 kills weir a hundred times, at a provider that hides answers,
// cuts them, and drops what it made from its results.
func TestSoakKill9(t *testing.T) {
	killAlone(t, simulator.Faults{
		Shuffle: .5, Accepted500: .02, Cut: .02, Reset: .02, DropResult: .02,
		Refuse503: .02, HTML502: .02, ResetEarly: .02, Slow: .02, SlowFor: 300 * time.Millisecond,
	}, 100, 1000)
}

// TestSoakReplicas runs eight replicas for ten minutes, in which one after the other
// is killed, stopped or put to sleep for longer than its lease, at providers that
// refuse nothing.
func TestSoakReplicas(t *testing.T) {
	f := newFleet(t, 8, 20)
	var replicas []*exec.Cmd
	for range 8 {
		replicas = append(replicas, f.start(t))
	}
	f.owned(t, replicas...)
	kills := 0
	for began := time.Now(); time.Since(began) < 10*time.Minute; kills++ {
		f.publish(t, 1)
		elapse(t, 8*time.Second)
		at := rand.IntN(len(replicas))
		victim := replicas[at].Process
		switch kills % 3 {
		case 0:
			_ = victim.Kill()
		case 1:
			_ = victim.Signal(syscall.SIGTERM)
		default:
			_ = victim.Signal(syscall.SIGSTOP)
			elapse(t, 12*time.Second)
			_ = victim.Signal(syscall.SIGCONT)
			continue
		}
		_ = replicas[at].Wait()
		replicas[at] = f.start(t)
	}
	t.Logf("%d replicas were killed, stopped or put to sleep", kills)
	f.settle(t)
}
