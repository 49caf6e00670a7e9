package consumer_test

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A replica may own thousands of lanes, each of an account of its own, that wait for
// hours. Each goroutine is a stack that stays.
func TestALaneThatWaitsHasFewGoroutines(t *testing.T) {
	// Not parallel: it counts the goroutines of all.
	bubble(t, func(t *testing.T, w *world) {
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		n := 0
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "weir/consumer.(*") {
				n++
			}
		}
		const most = 5 // the account's, the lane's, and one for each of three queues
		if n > most {
			t.Errorf("an account with one lane that waits has %d goroutines, want at most %d:\n%s", n, most, stacks)
		}
		p.stop(t)
	})
}
