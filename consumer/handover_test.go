package consumer_test

import (
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// What an engine gave back for want of a slot nobody but it can call back: when it
// ends, whoever is next has it at once, however long it was to wait.
func TestANextOwnerNeedNotWaitForWhatFoundNoSlot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = func(_ *world, b consumer.Batch) consumer.Answer {
			a := all(b, consumer.VerdictFull, "full")
			a.Status, a.Full = 429, true
			return a
		}
		w.lead("1")
		w.lead("2")
		p := w.start(t, &process{}, nil)
		await(t, w, func() bool { return len(w.posts) > 0 })
		time.Sleep(2 * time.Minute) // the pauses between the requests grow
		p.stop(t)
		w.do(func() { w.answer = nil })
		p = w.start(t, &process{}, nil)
		time.Sleep(time.Second)
		w.do(func() {
			if len(w.made) != 2 {
				t.Errorf("the next owner made %d conversations within a second, want 2", len(w.made))
			}
		})
		p.stop(t)
	})
}
