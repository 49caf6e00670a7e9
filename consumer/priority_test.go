package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// askedFor are the intents that were asked for, in the order of the requests.
func (w *world) askedFor() (intents []string) {
	w.do(func() {
		for _, b := range w.posts {
			for _, it := range b.Items {
				intents = append(intents, it.Intent)
			}
		}
	})
	return intents
}

// With free slots events are called in the order of their coming, those of high
// priority before all others that wait, whether a request has one or many.
func TestHighGoesFirst(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, 2, 5, 20} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = batch
				var normal, high []string
				for i := range 30 {
					normal = append(normal, w.lead(fmt.Sprintf("%04d", i)))
					if i%3 == 0 {
						high = append(high, w.urgent(fmt.Sprintf("9%03d", i)))
					}
				}
				p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = batch })
				await(t, w, func() bool { return len(w.posts) > 0 && len(w.made) > 15 })
				began := len(w.askedFor())
				late := []string{w.urgent("9900"), w.urgent("9901")} // they need not wait for the normal ones
				time.Sleep(2 * time.Hour)
				p.stop(t)
				want := append(slices.Clone(high), normal...)
				want = slices.Insert(want, began, late...)
				if diff := cmp.Diff(want, w.askedFor()); diff != "" {
					t.Errorf("order of the calls (-want +got):\n%s", diff)
				}
				if w.unacked() != 0 || len(w.doubled()) > 0 || w.highest > w.limit {
					t.Errorf("got %d messages left, doubled %v, highest %d of %d", w.unacked(), w.doubled(), w.highest, w.limit)
				}
			})
		})
	}
}

// With many free slots several requests are under way at once: no event is more of
// them ahead of another that came before it.
func TestTheOrderOfComingIsKeptWithManySlots(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, 5} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 100
				var want []string
				for i := range 100 {
					want = append(want, w.lead(fmt.Sprintf("%04d", i)))
				}
				p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = batch })
				time.Sleep(10 * time.Minute)
				p.stop(t)
				got := w.askedFor()
				if len(got) != len(want) {
					t.Fatalf("calls: got %d, want %d", len(got), len(want))
				}
				for i, intent := range want {
					if at := slices.Index(got, intent); max(at-i, i-at) >= 8*batch { // mostFlying
						t.Errorf("event %d was called as number %d", i, at)
					}
				}
			})
		})
	}
}

// await waits, in virtual time, until f holds; f is called under w.mu.
func await(t *testing.T, w *world, f func() bool) {
	t.Helper()
	for range 100_000 {
		ok := false
		if w.do(func() { ok = f() }); ok {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it never came to that")
}

// However many events of high priority there are, what is due has its turn.
func TestHighDoesNotStarveWhatIsDue(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		for i := range 30 {
			w.urgent(fmt.Sprintf("9%03d", i))
		}
		var due []string
		for i := range 10 {
			due = append(due, w.lead(fmt.Sprintf("%04d", i)))
		}
		w.do(func() { // they waited for their time
			for i, r := range w.events.msgs[30:] {
				w.addDue(&record{header: r.header, data: r.data, intent: due[i], ready: time.Now()})
			}
			w.events.msgs = w.events.msgs[:30]
		})
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = 1 })
		time.Sleep(time.Hour)
		p.stop(t)
		n := 0
		for i, intent := range w.askedFor() {
			if slices.Contains(due, intent) {
				n++
			}
			if want := min((i+1)/2, len(due)); n < want {
				t.Fatalf("after %d calls: got %d of what is due, want %d at least", i+1, n, want)
			}
		}
		if len(w.made) != 40 {
			t.Errorf("conversations: got %d, want 40", len(w.made))
		}
	})
}

// Of the events that were given back for want of a slot, those of high priority
// come back first.
func TestHighIsCalledBackFirst(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 1, time.Hour // somebody else's calls have the other slots
		first := w.lead("0001")
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Limiter.Limit, c.Accounts[0].Lanes[0].Batch = 6, 1
		})
		await(t, w, func() bool { return len(w.made) == 1 })
		w.lead("0002")
		high := w.urgent("9001")
		await(t, w, func() bool { return len(w.posts) == 3 })
		time.Sleep(50 * time.Millisecond) // both have been given back
		w.finish(w.first(first))
		if err := p.tell(t, w.first(first), first, 1); err != nil {
			t.Fatal(err)
		}
		await(t, w, func() bool { return len(w.made) == 2 })
		p.stop(t)
		if len(w.made[high]) != 1 {
			t.Errorf("the first one that got a slot is not that of high priority: %v", w.made)
		}
	})
}

// An event that must wait for a slot of its channel waits before those of lower
// priority that were read earlier.
func TestHighGoesFirstInARoom(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		var want []string
		for i := range 6 {
			want = append(want, w.by("telephone", i))
		}
		p := w.start(t, &process{}, channels(t, w))
		await(t, w, func() bool { return len(w.made) == 2 })
		var late []string
		for i := range 2 {
			id := fmt.Sprintf("urgent-%d", i)
			late = append(late, w.leadOf(id, map[string]any{"id": id, "phone": fmt.Sprintf("+1415556%04d", i), "channel": "telephone"}, true))
		}
		want = slices.Insert(want, 2, late...)
		time.Sleep(time.Hour)
		p.stop(t)
		if diff := cmp.Diff(want, w.askedFor()); diff != "" {
			t.Errorf("order of calls (-want +got):\n%s", diff)
		}
	})
}
