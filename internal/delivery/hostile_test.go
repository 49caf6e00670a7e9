package delivery_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/internal/delivery"
)

// always is an endpoint that answers the same to everything.
func always(status int) func(string) (int, http.Header) {
	return func(string) (int, http.Header) { return status, nil }
}

// requests is how many there were since the last call.
func (w *world) requests() (n int) {
	w.do(func() { n, w.posts = len(w.posts), nil })
	return n
}

// floor is how far the stored place has come.
func (w *world) floor(t *testing.T) (floor uint64) {
	t.Helper()
	w.do(func() {
		p, err := delivery.ReadPlace(w.place)
		if err != nil {
			t.Fatal(err)
		}
		floor = p.Floor
	})
	return floor
}

// An endpoint that was away for a day, and so was asked with more outcomes than may
// have faults of their own, takes all of them when it is back.
func TestAwayForADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.poll, w.answer = time.Minute, always(503)
		for i := range 400 {
			w.publish(fmt.Sprint(i), "created")
		}
		_, stop, _ := w.start(patience)
		time.Sleep(24 * time.Hour)
		w.do(func() { w.answer = always(204) })
		time.Sleep(10 * time.Minute)
		stop()
		if delivered, kept := w.count(); delivered != 400 || kept != 0 {
			t.Errorf("%d delivered, %d given up; want 400, 0", delivered, kept)
		}
		w.check(t)
	})
}

// What waits behind a refused outcome of its event is not in the way of others, and
// does not hold the place: a restart repeats nothing.
func TestWhatWaitsBehindARefusedOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.poll = time.Minute
		refused := make(map[string]bool)
		w.answer = func(id string) (int, http.Header) {
			if refused[id] {
				return 422, nil
			}
			return 204, nil
		}
		_, _, kill := w.start(patience)
		for i := range 25 {
			id := w.publish(fmt.Sprint(i), "created")
			w.do(func() { refused[id] = true })
			w.publish(fmt.Sprint("good", i), "created")
			w.publish(fmt.Sprint(i), "ended")
			time.Sleep(time.Minute)
		}
		time.Sleep(2 * time.Minute)
		if delivered, kept := w.count(); delivered != 25 || kept != 0 {
			t.Errorf("%d delivered, %d given up; want 25, 0", delivered, kept)
		}
		if floor := w.floor(t); floor != 75 {
			t.Errorf("the place is at %d, want 75", floor)
		}
		kill()
		before := len(w.got)
		_, stop, _ := w.start(patience)
		time.Sleep(time.Second)
		if after := len(w.got); after != before {
			t.Errorf("%d were delivered again after a restart", after-before)
		}
		w.do(func() { clear(refused) })
		time.Sleep(3 * time.Hour)
		stop()
		if delivered, kept := w.count(); delivered != 75 || kept != 0 {
			t.Errorf("%d delivered, %d given up; want 75, 0", delivered, kept)
		}
		w.check(t)
	})
}

// An endpoint that takes so many a second, and says 429 to the rest, gets all, and
// none waits as if it were at fault itself.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			w := begun(t)
			var second time.Time
			taken := 0
			w.answer = func(string) (int, http.Header) {
				if now := time.Now().Truncate(time.Second); !now.Equal(second) {
					second, taken = now, 0
				}
				if taken++; taken > 3 {
					return status, nil
				}
				return 204, nil
			}
			for i := range 600 {
				w.publish(fmt.Sprint(i), "created")
			}
			_, stop, _ := w.start(patience)
			time.Sleep(2 * time.Hour)
			stop()
			if delivered, kept := w.count(); delivered != 600 || kept != 0 {
				t.Errorf("status %d: %d delivered, %d given up; want 600, 0", status, delivered, kept)
			}
			w.check(t)
		})
	}
}

// Outcomes that nobody wants, however many, keep neither the place from being stored
// nor what was delivered from being known.
func TestUnwantedBacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.lag = time.Millisecond
		w.publish("a", "rejected")
		for i := range 20_000 {
			w.bulk(fmt.Sprint(i), "created")
		}
		last := w.publish("b", "rejected")
		w.kinds = []string{"rejected"}
		_, _, kill := w.start(patience)
		time.Sleep(5 * time.Second)
		if floor := w.floor(t); floor < 1000 || floor > 10_000 {
			t.Errorf("after five seconds the place is at %d, want some thousand", floor)
		}
		kill()
		began := time.Now()
		_, stop, _ := w.start(patience)
		time.Sleep(3 * time.Minute)
		stop()
		if !slices.Contains(w.got, last) || len(w.got) != 2 {
			t.Errorf("%d delivered after %v, want the two that are wanted, once", len(w.got), time.Since(began))
		}
	})
}

// Where the place cannot be written nothing is posted, or the same would be for ever.
func TestPlaceThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		for i := range 5 {
			w.publish(fmt.Sprint(i), "created")
		}
		w.answer = always(422)
		_, stop, _ := w.start(patience)
		time.Sleep(2 * time.Second)
		w.do(func() { w.sealed, w.posts = true, nil })
		time.Sleep(time.Hour)
		if n := w.requests(); n > 5 {
			t.Errorf("%d requests with five outcomes, want each once at most", n)
		}
		w.do(func() { w.sealed, w.answer = false, always(204) })
		time.Sleep(time.Minute)
		stop()
		if delivered, _ := w.count(); delivered != 5 {
			t.Errorf("%d delivered, want 5", delivered)
		}
	})
}

// A person's order is one try, also where its end cannot be noted.
func TestOrderThatCannotBeNoted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.answer = always(410)
		id := w.publish("a", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(time.Minute)
		w.requests()
		w.order(id)
		w.do(func() { w.full = true })
		time.Sleep(time.Hour)
		if n := w.requests(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		stop()
	})
}

// What a person dropped while it was being sent stays dropped.
func TestDroppedWhileItIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.answer = always(410)
		id := w.publish("a", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(time.Minute)
		w.do(func() { w.slow = 10 * time.Second })
		w.order(id)
		time.Sleep(5 * time.Second)
		w.do(func() { delete(w.kept, id) })
		time.Sleep(time.Minute)
		stop()
		if _, kept := w.count(); kept != 0 {
			t.Error("it is back")
		}
	})
}

// Orders are obeyed one after the other, without a rest between those that are taken.
func TestManyOrders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.answer = always(410)
		for i := range 100 {
			w.publish(fmt.Sprint(i), "created")
		}
		_, stop, _ := w.start(patience)
		time.Sleep(time.Minute)
		_, kept := w.count()
		if kept != 100 {
			t.Fatalf("%d kept, want 100", kept)
		}
		w.do(func() { w.answer = always(204) })
		for _, s := range w.stream {
			w.order(idOf(s))
		}
		time.Sleep(5 * time.Second)
		stop()
		if delivered, kept := w.count(); delivered != 100 || kept != 0 {
			t.Errorf("%d delivered, %d kept after five seconds; want 100, 0", delivered, kept)
		}
	})
}

// An endpoint that failed and then says of everything that it is gone is not asked
// without a rest where no copy can be kept.
func TestGoneAfterAFailureWithoutRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.poll, w.answer = time.Minute, always(500)
		for i := range 10 {
			w.publish(fmt.Sprint(i), "created")
		}
		_, stop, _ := w.start(patience)
		time.Sleep(time.Hour)
		w.requests()
		w.do(func() { w.answer, w.full = always(410), true })
		time.Sleep(time.Hour)
		if n := w.requests(); n > 10*61 {
			t.Errorf("%d requests in an hour, want one a minute of each outcome at most", n)
		}
		w.do(func() { w.full = false })
		time.Sleep(time.Hour)
		stop()
		if _, kept := w.count(); kept != 10 {
			t.Errorf("%d kept, want 10", kept)
		}
	})
}
