package consumer

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// alive counts the signs of life of a message.
type alive struct {
	Message
	signs atomic.Int64
}

func (m *alive) Progress() error         { m.signs.Add(1); return nil }
func (m *alive) Nak(time.Duration) error { return nil }
func (m *alive) Origin() Origin          { return Origin{} }

// Each message of a batch is signed every so often, one that was given back not any
// more, and none once the heart is stopped.
func TestHeart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := &alive{}, &alive{}
		h := beat([]Message{a, b}, time.Second)
		signs := func(after time.Duration, ofA, ofB int64) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := [2]int64{a.signs.Load(), b.signs.Load()}; got != [2]int64{ofA, ofB} {
				t.Errorf("got %v signs, want %d and %d", got, ofA, ofB)
			}
		}
		signs(999*time.Millisecond, 0, 0)
		signs(2*time.Second, 2, 2)
		if err := h.all[1].Nak(0); err != nil {
			t.Fatal(err)
		}
		signs(3*time.Second, 5, 2)
		h.stop()
		signs(time.Minute, 5, 2)
	})
}

// What waits for a slot keeps the other messages of its batch from no collection.
func TestWhatWaitsIsKeptAlone(t *testing.T) {
	t.Parallel()
	m := &alive{}
	h := beat([]Message{m, &alive{}}, time.Hour)
	defer h.stop()
	ln := &lane{delayed: make(map[place]delayed)}
	ln.giveBack(&h.all[0], time.Minute, true)
	for _, d := range ln.delayed {
		if d.msg != Message(m) {
			t.Errorf("got %T, want the message itself", d.msg)
		}
	}
	if len(ln.delayed) != 1 {
		t.Errorf("got %d that wait, want 1", len(ln.delayed))
	}
}
