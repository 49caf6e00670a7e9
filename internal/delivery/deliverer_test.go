package delivery_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/internal/delivery"
)

const patience = 72 * time.Hour

// A lane that never delivered begins with what is published from then on; one that
// did goes on where it was.
func TestBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.publish("before", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(5 * time.Second)
		first := w.publish("a", "created")
		time.Sleep(5 * time.Second)
		stop()
		second := w.publish("a", "ended")
		_, stop, _ = w.start(patience)
		time.Sleep(5 * time.Second)
		stop()
		if want := []string{first, second}; !slices.Equal(w.posts, want) {
			t.Errorf("posted %v, want %v", w.posts, want)
		}
		w.check(t)
	})
}

// While an endpoint is away it is asked with one outcome at a time, ever more seldom;
// when it is back, all that waits is delivered at once, in order.
func TestEndpointAway(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 500, 503, 429, 401, 403, 404, 302} {
		synctest.Test(t, func(t *testing.T) {
			w := begun(t)
			w.poll = time.Minute
			w.answer = func(string) (int, http.Header) { return status, nil }
			for i := range 300 {
				w.publish(fmt.Sprint(i), "created")
				w.publish(fmt.Sprint(i), "ended")
			}
			_, stop, _ := w.start(patience)
			time.Sleep(10 * time.Second)
			w.do(func() { w.most = 0 })
			time.Sleep(3 * time.Hour)
			w.do(func() {
				if n := len(w.posts); n < 36 || n > 70 || w.most != 1 {
					t.Errorf("status %d: %d requests in three hours, %d at one time; want one each five minutes", status, n, w.most)
				}
				w.answer, w.slow = func(string) (int, http.Header) { return 200, nil }, 20*time.Millisecond
			})
			stop() // and what it knew of the endpoint survives
			_, stop, _ = w.start(patience)
			time.Sleep(6 * time.Minute)
			stop()
			if delivered, kept := w.count(); delivered != 600 || kept != 0 || w.most > 8 || w.most < 4 {
				t.Errorf("status %d: %d delivered, %d given up, %d at one time; want 600, 0, at most 8", status, delivered, kept, w.most)
			}
			w.check(t)
		})
	}
}

// An endpoint that asks for a pause gets it.
func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.answer = func(string) (int, http.Header) { return 429, http.Header{"Retry-After": {"1800"}} }
		w.publish("a", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(29 * time.Minute)
		stop()
		_, stop, _ = w.start(patience) // a restart knows the endpoint, and asks it once
		time.Sleep(29 * time.Minute)
		stop()
		if n := len(w.posts); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// One outcome that the endpoint cannot bear stops no other, whatever it answers.
func TestPoison(t *testing.T) {
	t.Parallel()
	for _, status := range []int{422, 500, 0} {
		synctest.Test(t, func(t *testing.T) {
			w := begun(t)
			w.poll = time.Minute
			poison := w.publish("p", "created")
			w.answer = func(id string) (int, http.Header) {
				if id == poison {
					return status, nil
				}
				return 200, nil
			}
			behind := w.publish("p", "ended")
			for i := range 100 {
				w.publish(fmt.Sprint(i), "created")
			}
			_, stop, _ := w.start(patience)
			time.Sleep(5 * time.Minute)
			if delivered, _ := w.count(); delivered != 100 {
				t.Errorf("status %d: %d delivered beside it, want 100", status, delivered)
			}
			w.do(func() {
				if slices.Contains(w.posts, behind) {
					t.Errorf("status %d: an ended was sent before its created", status)
				}
			})
			for i := range 4 * 24 { // others come and go
				w.publish(fmt.Sprint("later", i), "created")
				time.Sleep(time.Hour)
			}
			stop()
			tries := 0
			for _, id := range w.posts {
				if id == poison {
					tries++
				}
			}
			if status >= 400 && status < 500 && (tries < 8 || tries > 11) {
				t.Errorf("status %d: tried %d times in 72 h, want as Standard Webhooks has it", status, tries)
			}
			if tries > 72*24 { // nothing else is there to ask with, most of the time
				t.Errorf("status %d: tried %d times in 72 h, want few", status, tries)
			}
			u := w.kept[poison]
			if len(w.kept) != 1 || u.Last.Sub(u.First) < patience || u.Last.Sub(u.First) > patience+10*time.Minute || u.EventID != "e-p" || u.Source != "/crm" || u.Kind != "created" || u.Reason == "" {
				t.Errorf("status %d: kept %+v", status, w.kept)
			}
			if delivered, _ := w.count(); delivered != 101+4*24 {
				t.Errorf("status %d: %d delivered, want what was behind it too", status, delivered)
			}
			w.check(t)
		})
	}
}

// What is for ever is for ever.
func TestGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.answer = func(string) (int, http.Header) { return 410, nil }
		id := w.publish("a", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(time.Minute)
		stop()
		if u, ok := w.kept[id]; !ok || len(w.posts) != 1 || u.Reason != "status 410 Gone" {
			t.Errorf("%d requests, kept %+v", len(w.posts), w.kept)
		}
	})
}

// A dead endpoint costs each outcome its time, and no more: none waits for the one
// before it to be given up, and a restart does not begin the time anew.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.poll = 2 * time.Minute
		w.answer = func(string) (int, http.Header) { return 0, nil }
		for i := range 150 {
			w.publish(fmt.Sprint(i), "created")
		}
		_, stop, _ := w.start(patience)
		time.Sleep(24 * time.Hour)
		stop()
		_, _, kill := w.start(patience)
		time.Sleep(24 * time.Hour)
		kill()
		_, stop, _ = w.start(patience)
		late := w.publish("late", "created")
		time.Sleep(23 * time.Hour)
		if _, kept := w.count(); kept != 0 {
			t.Errorf("%d given up before their time", kept)
		}
		time.Sleep(2 * time.Hour)
		if _, kept := w.count(); kept != 150 {
			t.Errorf("%d given up after 72 h, want 150", kept)
		}
		w.do(func() {
			if _, ok := w.kept[late]; ok {
				t.Error("the late one was given up before its time")
			}
		})
		time.Sleep(72 * time.Hour)
		stop()
		if _, kept := w.count(); kept != 151 {
			t.Errorf("%d given up in the end, want 151", kept)
		}
	})
}

// Weir was away for longer than an outcome may wait: it is tried all the same.
func TestAwayForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.poll = time.Minute
		w.answer = func(string) (int, http.Header) { return 0, nil }
		for i := range 40 {
			w.publish(fmt.Sprint(i), "created")
		}
		_, stop, _ := w.start(patience)
		time.Sleep(time.Hour)
		stop()
		time.Sleep(5 * 24 * time.Hour)
		w.do(func() { w.answer = func(string) (int, http.Header) { return 200, nil } })
		_, stop, _ = w.start(patience)
		time.Sleep(time.Minute)
		stop()
		if delivered, kept := w.count(); delivered != 40 || kept != 0 {
			t.Errorf("%d delivered, %d given up; want 40, 0", delivered, kept)
		}
	})
}

// Outcomes that are refused one by one, among others that are taken, never fill the
// place: of more than can be tried again the one with the most tries is kept.
func TestManyRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.poll = time.Minute
		refused := make(map[string]bool)
		w.answer = func(id string) (int, http.Header) {
			if refused[id] {
				return 422, nil
			}
			return 200, nil
		}
		_, stop, _ := w.start(patience)
		for i := range 300 {
			w.do(func() {})
			id := w.publish(fmt.Sprint(i), "suppressed")
			w.do(func() { refused[id] = true })
			w.publish(fmt.Sprint("good", i), "created")
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Minute)
		if delivered, kept := w.count(); delivered != 300 || kept < 200 || kept > 240 {
			t.Errorf("%d delivered, %d kept; want 300, and all but 64 of the refused", delivered, kept)
		}
		stop()
		w.check(t)
	})
}

// An endpoint that refuses everything is left alone as one that fails.
func TestAllRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.answer = func(string) (int, http.Header) { return 400, nil }
		for i := range 300 {
			w.publish(fmt.Sprint(i), "created")
		}
		_, stop, _ := w.start(patience)
		time.Sleep(time.Hour)
		w.do(func() {
			if n := len(w.posts); n > 50 {
				t.Errorf("%d requests in an hour, want one each five minutes after the first ten", n)
			}
			w.answer = func(string) (int, http.Header) { return 200, nil }
		})
		time.Sleep(45 * time.Minute)
		stop()
		if delivered, kept := w.count(); delivered != 300 || kept != 0 {
			t.Errorf("%d delivered, %d kept; want 300, 0", delivered, kept)
		}
	})
}

// What cannot be kept is tried on, and not lost.
func TestNoRoomForCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.full = true
		w.answer = func(string) (int, http.Header) { return 410, nil }
		id := w.publish("a", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(10 * time.Minute)
		w.do(func() { w.full = false })
		time.Sleep(10 * time.Minute)
		stop()
		if _, ok := w.kept[id]; !ok || len(w.posts) > 12 {
			t.Errorf("%d requests, kept: %v", len(w.posts), ok)
		}
	})
}

// A person's order is one try; what is delivered is kept no more.
func TestOrdered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		status := 410
		w.answer = func(string) (int, http.Header) { return status, nil }
		id := w.publish("a", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(time.Minute)
		order := func() {
			w.do(func() {
				u := w.kept[id]
				w.copies++
				u.By, u.Sequence = "ann", w.copies
				w.kept[id] = u
			})
			time.Sleep(time.Minute)
		}
		w.do(func() { status = 500 })
		order()
		w.do(func() {
			if u := w.kept[id]; u.By != "" || u.Reason != "status 500 Internal Server Error" || len(w.posts) != 2 {
				t.Errorf("after a try that failed: %d requests, kept %+v", len(w.posts), u)
			}
		})
		w.do(func() { status = 200 })
		order()
		stop()
		if delivered, kept := w.count(); delivered != 1 || kept != 0 || len(w.posts) != 3 {
			t.Errorf("%d requests, %d delivered, %d kept; want 3, 1, 0", len(w.posts), delivered, kept)
		}
	})
}

// A stream that was made anew is read from its beginning.
func TestStreamAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		for i := range 5 {
			w.publish(fmt.Sprint(i), "created")
		}
		_, stop, _ := w.start(patience)
		time.Sleep(5 * time.Second)
		stop()
		w.do(func() { w.stream, w.created = nil, time.Now() })
		id := w.publish("new", "created")
		_, stop, _ = w.start(patience)
		time.Sleep(5 * time.Second)
		stop()
		if w.posts[len(w.posts)-1] != id {
			t.Error("the first outcome of the new stream was not delivered")
		}
	})
}

// An endpoint that hangs delays the end by a second and no more, and what it had is
// sent again.
func TestHangingEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begun(t)
		w.slow = time.Hour
		id := w.publish("a", "created")
		_, stop, _ := w.start(patience)
		time.Sleep(5 * time.Second)
		began := time.Now()
		stop()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("the end took %v", d)
		}
		w.slow = 0
		_, stop, _ = w.start(patience)
		time.Sleep(5 * time.Second)
		stop()
		if delivered, _ := w.count(); delivered != 1 || w.posts[1] != id {
			t.Errorf("%d delivered after the restart, want 1", delivered)
		}
		// And a try that hangs ends with its time-out.
		w.slow = time.Hour
		w.publish("b", "created")
		_, stop, _ = w.start(patience)
		time.Sleep(20 * time.Second)
		w.do(func() { w.slow = 0 })
		time.Sleep(20 * time.Second)
		stop()
		if delivered, _ := w.count(); delivered != 2 {
			t.Errorf("%d delivered in the end, want 2", delivered)
		}
	})
}

// Whatever dies when, each outcome is delivered or kept, those of one event in their
// order.
func TestStorm(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := begun(t)
			w.poll = time.Minute
			bad := r.Float64()
			var chance = rand.New(rand.NewPCG(seed, 2)) // under the lock of the world
			w.answer = func(string) (int, http.Header) {
				if chance.Float64() < bad {
					return []int{0, 400, 401, 410, 413, 429, 500, 503}[chance.IntN(8)], nil
				}
				return 200, nil
			}
			published := 0
			var p *process
			var stop, kill func()
			for range 30 {
				p, stop, kill = w.start(2 * time.Hour)
				if r.IntN(3) == 0 {
					deaf := rand.New(rand.NewPCG(seed, 3))
					p.mu.Lock()
					p.deaf = func() bool { return deaf.IntN(20) == 0 }
					p.mu.Unlock()
				}
				for range r.IntN(20) {
					w.publish(fmt.Sprint(r.IntN(8)), "created")
					published++
					time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
				}
				time.Sleep(time.Duration(r.Int64N(int64(20 * time.Minute))))
				if r.IntN(2) == 0 {
					kill()
				} else {
					stop()
				}
			}
			w.do(func() { bad = 0 })
			_, stop, _ = w.start(2 * time.Hour)
			time.Sleep(24 * time.Hour)
			stop()
			w.do(func() {
				for _, s := range w.stream {
					id := idOf(s)
					if _, up := w.kept[id]; !up && !slices.Contains(w.got, id) {
						t.Errorf("seed %d: outcome %d is neither delivered nor kept", seed, s.Sequence)
					}
				}
				place, err := delivery.ReadPlace(w.place)
				if err != nil || place.Floor != uint64(published) || len(place.Held) > 0 {
					t.Errorf("seed %d: the place in the end is %+v, %v", seed, place, err)
				}
			})
			w.check(t)
		})
	}
}
