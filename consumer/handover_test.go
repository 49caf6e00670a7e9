package consumer_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// An event came into doubt under its new owner, and was acknowledged. The former
// owner wakes, writes its conversation down, and dies before it has told anybody:
// whoever comes next tells it.
func TestWhatEmergedFromADoubtIsTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		one := w.start(t, &process{}, nil)
		time.Sleep(50 * time.Millisecond) // the request is on its way
		w.do(func() { one.stands = time.Now().Add(10 * time.Minute) })
		two := w.start(t, &process{}, nil)
		time.Sleep(9 * time.Minute)
		if got := w.state(key); got != consumer.Doubt || w.unacked() != 0 {
			t.Fatalf("under the new owner: got %s with %d messages left, want a doubt and none", got, w.unacked())
		}
		two.stop(t)
		w.do(func() { w.mute = true })
		time.Sleep(time.Minute + time.Second)
		w.do(func() { one.dead = true })
		if got := w.state(key); got != consumer.Created {
			t.Fatalf("when the former owner woke: got %s, want created", got)
		}
		one.stop(t)
		w.do(func() { w.mute = false })
		three := w.start(t, &process{}, nil)
		time.Sleep(3 * time.Minute)
		if diff := cmp.Diff(map[string]int{"created": 1, "doubt": 1, "ended": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		three.stop(t)
	})
}
