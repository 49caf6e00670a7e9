package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// patience asks the first request to come again in three hours.
func patience(w *world, b consumer.Batch) consumer.Answer {
	if len(w.posts) > 1 {
		return w.accept(b)
	}
	a := all(b, consumer.VerdictFull, "come again")
	a.Status, a.Full, a.Header = 429, true, map[string][]string{"Retry-After": {"10800"}}
	return a
}

func TestH4ALongWaitIsPostponed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = patience
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		want := []string{"store started", "store waiting", "postpone", "ack"}
		w.do(func() {
			if diff := cmp.Diff(want, w.order); diff != "" {
				t.Errorf("durable steps (-want +got):\n%s", diff)
			}
			if in := w.entries["l."+key].intent; !in.Later || in.Sequence != 1 {
				t.Errorf("got %+v, want an entry that says where its event is", in)
			}
		})
		time.Sleep(2*time.Hour + 50*time.Minute)
		if n := w.posted(); n != 1 {
			t.Errorf("requests before the time: got %d, want 1", n)
		}
		time.Sleep(30 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended || w.unacked() != 0 {
			t.Errorf("got %s, %d messages left; want ended, 0", got, w.unacked())
		}
	})
}

// Whichever step the process dies at, the event is called once, not before its
// time.
func TestH4ACrashLosesNoPostponedEvent(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 10; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					began := time.Now()
					var posts []time.Duration
					w.answer = func(w *world, b consumer.Batch) consumer.Answer {
						posts = append(posts, time.Since(began))
						return patience(w, b)
					}
					key := w.lead("0001")
					one := w.start(t, &process{dieAt: at, dieLate: late}, nil)
					time.Sleep(5 * time.Minute)
					one.cancel()
					w.do(func() { one.dead = true })
					two := w.start(t, &process{}, nil)
					time.Sleep(12 * time.Hour)
					two.stop(t)
					<-one.done
					state := w.state(key)
					if len(w.doubled()) > 0 || w.unacked() != 0 || state != consumer.Ended && state != consumer.Doubt {
						t.Errorf("got %s, doubled %v, %d messages left", state, w.doubled(), w.unacked())
					}
					if state == consumer.Ended && len(posts) > 1 && posts[1] < 3*time.Hour {
						t.Errorf("posted after %v, want not before 3 h", posts)
					}
				})
			})
		}
	}
}

// An event that the ledger may have forgotten is not sent: it may have been, and
// its entry pruned. One that it knows is judged by what it knows.
func TestH20TooOldToKnow(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		told, stored time.Duration // the age that the event tells, and that of its message
		known        bool
		want         consumer.State
	}{
		"young":                     {told: 80 * day, stored: 80 * day, want: consumer.Ended},
		"no time told":              {want: consumer.Ended},
		"as it says":                {told: 90 * day, want: consumer.Dead},
		"as the stream says":        {stored: 90 * day, want: consumer.Dead},
		"old, but the ledger knows": {told: 90 * day, stored: 90 * day, known: true, want: consumer.Ended},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				r := w.events.msgs[0]
				if tt.told > 0 {
					r.data = []byte(strings.Replace(string(r.data), `"source"`, `"time":"`+time.Now().Add(-tt.told).UTC().Format(time.RFC3339)+`","source"`, 1))
				}
				if tt.stored > 0 {
					r.published = time.Now().Add(-tt.stored)
				}
				if tt.known {
					w.entries["l."+key] = stored{consumer.Intent{
						Lane: "l", Key: key, State: consumer.Waiting, N: 2, Claims: 1, Source: "/crm", ID: "0001", Digest: w.digest(t, 0),
					}, 1}
					w.revision = 1
				}
				p := w.start(t, &process{}, nil)
				time.Sleep(5 * time.Minute)
				p.stop(t)
				in := w.entries["l."+key].intent
				if in.State != tt.want || in.State == consumer.Dead && (in.Class != "too_old" || !strings.Contains(in.Reason, "too old to know")) {
					t.Errorf("got %s, %s: %s; want %s", in.State, in.Class, in.Reason, tt.want)
				}
			})
		})
	}
}

// An event that comes again when its entry is half as old as it may get has it
// written anew: it must not be forgotten while a message of the event is there.
func TestH20AnEventThatComesAgainIsRemembered(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		age   time.Duration
		state consumer.State
		anew  bool
	}{
		{44 * day, consumer.Ended, false},
		{46 * day, consumer.Ended, true},
		{46 * day, consumer.Suppressed, true},
		{46 * day, consumer.Dead, false}, // is never forgotten
	} {
		t.Run(fmt.Sprint(tt.state, tt.age), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				before := consumer.Intent{
					Lane: "l", Key: key, State: tt.state, N: 1, Claims: 1, Source: "/crm", ID: "0001", Digest: w.digest(t, 0),
					History: []consumer.Transition{{N: 1, State: tt.state, At: time.Now().Add(-tt.age)}},
				}
				w.entries["l."+key] = stored{before, 1}
				w.revision = 1
				p := w.start(t, &process{}, nil)
				time.Sleep(time.Minute)
				p.stop(t)
				got := w.entries["l."+key]
				if anew := got.revision > 1; anew != tt.anew {
					t.Errorf("written anew: got %v, want %v", anew, tt.anew)
				}
				if diff := cmp.Diff(before, got.intent); diff != "" || w.unacked() != 0 {
					t.Errorf("%d messages left; entry (-want +got):\n%s", w.unacked(), diff)
				}
			})
		})
	}
}

// The broker loses the schedule. The sweep brings the event back from its
// stream; what is there it leaves alone.
func TestH4TheSweepRestoresWhatIsLost(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{true, false} {
		t.Run(fmt.Sprintf("lost=%v", lost), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.answer = patience
				key := w.lead("0001")
				p := w.start(t, &process{}, nil)
				time.Sleep(time.Minute)
				if lost {
					w.do(func() { w.due.msgs = nil })
				}
				time.Sleep(6 * time.Hour)
				p.stop(t)
				if got := w.state(key); got != consumer.Ended || len(w.doubled()) > 0 {
					t.Errorf("got %s, doubled %v; want ended", got, w.doubled())
				}
				if restored := slices.Contains(w.order, "restore"); restored != lost {
					t.Errorf("restored: got %v, want %v", restored, lost)
				}
			})
		})
	}
}

// A process stood still during its request while another one took over and
// counted the slots in use. It wakes, writes the conversation down, acknowledges
// and ends: nobody would ask for the conversation's end. Who took over looks again
// when the request is over, and the sweep finds what came later still.
func TestWhatAFormerOwnerCreatedIsFound(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ stands, found time.Duration }{
		"soon":  {30 * time.Second, 3 * time.Minute},
		"later": {56 * time.Second, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				one := w.start(t, &process{}, nil)
				time.Sleep(50 * time.Millisecond) // the request is on its way
				w.do(func() { one.stands = time.Now().Add(tt.stands) })
				two := w.start(t, &process{}, nil)
				time.Sleep(tt.stands + time.Second)
				one.stop(t)
				if got := w.state(key); got != consumer.Created || w.unacked() != 0 {
					t.Fatalf("got %s with %d messages left, want created and none", got, w.unacked())
				}
				time.Sleep(tt.found)
				if diff := cmp.Diff(map[string]int{"created": 1, "ended": 1}, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				if s := status(t, two); s.Used != 0 {
					t.Errorf("slots in use: got %d, want 0", s.Used)
				}
				two.stop(t)
			})
		})
	}
}

// A doubt that a person has sent again is asked to wait, and its schedule is lost:
// the stream still has the event of its first message.
func TestH4AReplayThatWasPostponedIsRestored(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			switch len(w.posts) {
			case 1:
				return lost(w, b)
			case 2:
				a := always(consumer.VerdictFull, "full", 429)(w, b)
				a.Full, a.Header = true, map[string][]string{"Retry-After": {"1200"}}
				return a
			}
			return w.accept(b)
		}
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		w.retry(key)
		time.Sleep(time.Minute)
		w.do(func() {
			if in := w.entries["l."+key].intent; !in.Later {
				t.Errorf("got %s, want it postponed", in.State)
			}
			w.due.msgs = nil
		})
		time.Sleep(3 * time.Hour)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended {
			t.Errorf("got %s, want ended", got)
		}
	})
}
