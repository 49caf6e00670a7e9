package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
)

// The tests of this file are named after the rows of docs/faults.md.

// again has the broker deliver a message once more, now, whatever it was told.
func (w *world) again(r *record) {
	w.do(func() {
		r.ready, r.acked = time.Now(), false
		w.events.stir()
	})
}

// known puts an entry about the event in the n-th message into the ledger.
func (w *world) known(t *testing.T, n int, key, id string, edit func(*consumer.Intent)) {
	t.Helper()
	in := consumer.Intent{
		Lane: "l", Key: key, State: consumer.Waiting, N: 2, Claims: 1, Claimed: time.Now(),
		Source: "/crm", ID: id, Type: "lead.created", Digest: w.digest(t, n),
	}
	edit(&in)
	w.do(func() {
		w.revision++
		w.entries["l."+key] = stored{in, w.revision}
	})
}

// count reads a number of the world while processes run.
func (w *world) count(of func() int) (n int) {
	w.do(func() { n = of() })
	return n
}

// called counts the events with a conversation.
func (w *world) called() int { return w.count(func() int { return len(w.made) }) }

// once fails unless each of the leads was called once and is over.
func (w *world) once(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if got := w.state(key); got != consumer.Ended || len(w.made[key]) != 1 {
			t.Errorf("got %s with conversations %v, want ended with one", got, w.made[key])
		}
	}
	if n := w.unacked(); n != 0 {
		t.Errorf("messages left: got %d, want 0", n)
	}
}

// TestFault01To04AKillBetweenTwoSteps kills the process at each place between an
// event's delivery and its acknowledgement, and says what the next one may do.
func TestFault01To04AKillBetweenTwoSteps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		at    int // store started, request, store created, publish, ack
		late  bool
		posts int
		state consumer.State
	}{
		"1 before the claim":                 {1, false, 1, consumer.Ended},
		"2 after the claim":                  {1, true, 0, consumer.Doubt},
		"2 before the first byte":            {2, false, 0, consumer.Doubt},
		"3 after the request":                {2, true, 1, consumer.Doubt},
		"3 before the answer is written":     {3, false, 1, consumer.Doubt},
		"4 after the answer is written":      {3, true, 1, consumer.Ended},
		"4 after the outcome":                {4, true, 1, consumer.Ended},
		"4 before the acknowledgement":       {5, false, 1, consumer.Ended},
		"4 the acknowledgement is not heard": {5, true, 1, consumer.Ended},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				first := w.start(t, &process{dieAt: tc.at, dieLate: tc.late}, nil)
				time.Sleep(10 * time.Second)
				second := w.start(t, &process{}, nil)
				time.Sleep(15 * time.Minute)
				second.stop(t)
				first.cancel()
				<-first.done
				if len(w.posts) != tc.posts || w.state(key) != tc.state || w.unacked() != 0 {
					t.Errorf("got %d requests, %s, %d messages left; want %d, %s, 0", len(w.posts), w.state(key), w.unacked(), tc.posts, tc.state)
				}
				want := map[string]int{"doubt": 1}
				if tc.state == consumer.Ended {
					want = map[string]int{"created": 1, "ended": 1}
				}
				if diff := cmp.Diff(want, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestFault05AnAckThatTheBrokerForgot delivers again what was acknowledged,
// while the call lives and when it is over.
func TestFault05AnAckThatTheBrokerForgot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		for range 3 {
			time.Sleep(10 * time.Second)
			w.again(w.events.msgs[0])
		}
		time.Sleep(time.Minute)
		p.stop(t)
		w.once(t, key)
		if w.posted() != 1 {
			t.Errorf("requests: got %d, want 1", w.posted())
		}
	})
}

// TestFault06ADelayThatTheBrokerForgot delivers events early: once, and a whole
// backlog at a restart (fault 7).
func TestFault06ADelayThatTheBrokerForgot(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 2 * n
				due := time.Now().Add(20 * time.Minute)
				var keys []string
				for i := range n {
					id := fmt.Sprintf("%04d", i)
					keys = append(keys, w.lead(id))
					w.known(t, i, keys[i], id, func(in *consumer.Intent) { in.NotBefore = due })
				}
				p := w.start(t, &process{}, nil)
				time.Sleep(time.Minute)
				for _, r := range w.events.msgs {
					w.again(r)
				}
				time.Sleep(time.Until(due) - time.Second)
				if n := w.posted(); n != 0 {
					t.Errorf("requests before their time: got %d, want none", n)
				}
				time.Sleep(20 * time.Minute)
				p.stop(t)
				w.once(t, keys...)
			})
		})
	}
}

// lateLedger loses the first claim on its way; it arrives when late is closed.
type lateLedger struct {
	consumer.Ledger
	once *sync.Once
	late chan struct{}
	err  chan error // what became of it
}

func (l lateLedger) Store(ctx context.Context, in consumer.Intent, revision uint64) (rev uint64, err error) {
	lost := false
	if in.State == consumer.Started {
		l.once.Do(func() {
			lost = true
			go func() {
				<-l.late
				_, err := l.Ledger.Store(context.Background(), in, revision)
				l.err <- err
			}()
		})
	}
	if lost {
		return 0, errors.New("the broker does not answer")
	}
	return l.Ledger.Store(ctx, in, revision)
}

// TestFault09AClaimThatArrivesLate lets a claim that was given up arrive when
// another process has claimed, and before.
func TestFault09AClaimThatArrivesLate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before bool
		posts  int
		state  consumer.State
	}{
		"after the other's":  {false, 1, consumer.Ended},
		"before the other's": {true, 0, consumer.Doubt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				first := &process{}
				l := lateLedger{Ledger: first, once: &sync.Once{}, late: make(chan struct{}), err: make(chan error, 1)}
				w.start(t, first, func(c *consumer.Config) { c.Ledger = l })
				time.Sleep(100 * time.Millisecond)
				first.stop(t)
				if tc.before {
					close(l.late)
					synctest.Wait()
				}
				second := w.start(t, &process{}, nil)
				time.Sleep(5 * time.Second)
				if !tc.before {
					close(l.late)
				}
				if err := <-l.err; errors.Is(err, consumer.ErrConflict) == tc.before {
					t.Errorf("the late claim: got %v, want a conflict %v", err, !tc.before)
				}
				time.Sleep(5 * time.Minute)
				second.stop(t)
				if len(w.posts) != tc.posts || w.state(key) != tc.state {
					t.Errorf("got %d requests, %s; want %d, %s", len(w.posts), w.state(key), tc.posts, tc.state)
				}
			})
		})
	}
}

// TestFault10TheBrokerIsAwayAfterTheRequest lets the broker take nothing, for a
// minute and for longer than the engine's patience, once a call was placed. That
// the provider can be reached all the while is fault 20, that the ledger's
// quorum is lost fault 19: nobody else is called meanwhile.
func TestFault10TheBrokerIsAwayAfterTheRequest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		away  time.Duration
		state consumer.State
	}{
		"a minute":            {time.Minute, consumer.Ended},
		"longer than waiting": {25 * time.Minute, consumer.Doubt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.length = time.Hour
				key := w.lead("0001")
				var back time.Time
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					back = time.Now().Add(tc.away)
					return w.accept(b)
				}
				w.storeErr = func(consumer.Intent) (bool, error) {
					if time.Now().Before(back) {
						return false, errors.New("the broker does not answer")
					}
					return true, nil
				}
				p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].MaxCall = 2 * time.Hour })
				time.Sleep(time.Second)
				w.lead("0002")
				time.Sleep(tc.away - 5*time.Second)
				if s := status(t, p); s.Used < 1 || w.unacked() != 2 || w.posted() != 1 {
					t.Errorf("without a broker: got %d slots in use, %d messages left, %d requests; want at least 1, 2, 1", s.Used, w.unacked(), w.posted())
				}
				w.do(func() { w.answer = nil })
				time.Sleep(15 * time.Second)
				if got := w.state(key); tc.state == consumer.Ended && got != consumer.Created {
					t.Errorf("10 s after the broker is back: got %s, want created", got)
				}
				time.Sleep(2 * time.Hour)
				p.stop(t)
				if got := w.state(key); got != tc.state || len(w.made[key]) != 1 || w.unacked() != 0 {
					t.Errorf("got %s, conversations %v, %d messages left; want %s, one, none", got, w.made[key], w.unacked(), tc.state)
				}
			})
		})
	}
}

// staleLedger answers the first reads from a copy that knows nothing yet.
type staleLedger struct {
	consumer.Ledger
	left *int
}

func (l staleLedger) Load(ctx context.Context, lane, key string) (consumer.Intent, uint64, error) {
	if *l.left > 0 {
		*l.left--
		return consumer.Intent{Lane: lane, Key: key}, 0, nil
	}
	return l.Ledger.Load(ctx, lane, key)
}

func TestFault11AReadThatIsBehind(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.known(t, 0, key, "0001", func(in *consumer.Intent) { in.State, in.Conversation = consumer.Ended, "c1" })
		left := 3
		p := &process{}
		w.start(t, p, func(c *consumer.Config) { c.Ledger = staleLedger{p, &left} })
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if left != 0 || len(w.posts) != 0 || w.state(key) != consumer.Ended || w.unacked() != 0 {
			t.Errorf("got %d stale reads left, %d requests, %s, %d messages left; want 0, 0, ended, 0", left, len(w.posts), w.state(key), w.unacked())
		}
	})
}

// slowProvider takes its time for each request, longer than the broker's AckWait.
type slowProvider struct {
	*process
	takes time.Duration
	quick string // the one person for whom it does not
}

func (p slowProvider) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	a := p.process.Create(ctx, b)
	if b.Items[0].Request.Pair != p.quick {
		time.Sleep(p.takes)
	}
	a.Done = time.Now()
	return a
}

// TestFault12ASecondDeliveryDuringTheRequest has no sign of life reach the
// broker, so that the message comes again while its request runs: to the same
// process, and to another.
func TestFault12ASecondDeliveryDuringTheRequest(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 1} {
		t.Run(fmt.Sprint(others, " others"), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				first := w.lead("0000") // opens the window for a second request
				edit := func(p *process) func(*consumer.Config) {
					return func(c *consumer.Config) {
						c.Heartbeat = time.Hour
						c.Accounts[0].Timeout = 3 * time.Minute
						c.Accounts[0].Provider = slowProvider{p, 150 * time.Second, "+14155550000"}
					}
				}
				p := &process{}
				w.start(t, p, edit(p))
				time.Sleep(time.Second)
				key := w.lead("0001")
				time.Sleep(time.Second)
				var other *process
				if others > 0 {
					other = &process{}
					w.start(t, other, edit(other))
				}
				time.Sleep(2 * time.Minute)
				deliveries := 0
				w.do(func() { deliveries = w.events.msgs[1].delivered })
				if deliveries < 2 || w.state(key) != consumer.Started || w.posted() != 2 {
					t.Errorf("during the request: got %d deliveries, %s, %d requests; want 2 or more, started, 2", deliveries, w.state(key), w.posted())
				}
				time.Sleep(10 * time.Minute)
				p.stop(t)
				if other != nil {
					other.stop(t)
				}
				w.once(t, first, key)
			})
		})
	}
}

// TestFault13TwoProcessesClaimAtOnce gives two processes the same events, and
// lets both read the ledger before either writes.
func TestFault13TwoProcessesClaimAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 100
		other := newStream(w, "OTHER")
		var keys []string
		for i := range 20 {
			keys = append(keys, w.lead(fmt.Sprintf("%04d", i)))
			other.publish(w.events.msgs[i].header, w.events.msgs[i].data)
		}
		conflicts := 0
		run := func(s *stream) *process {
			p := &process{}
			return w.start(t, p, func(c *consumer.Config) {
				c.Accounts[0].Lanes[0].Events = queue{p, s}
				c.Ledger = racingLedger{badLedger{Ledger: p, before: func(in consumer.Intent) {
					if in.State == consumer.Started {
						time.Sleep(time.Second)
					}
				}}, &conflicts}
			})
		}
		a, b := run(w.events), run(other)
		time.Sleep(20 * time.Minute)
		a.stop(t)
		b.stop(t)
		w.once(t, keys...)
		if conflicts < len(keys)/4 { // the two run into each other, and not for each event
			t.Errorf("claims that lost: got %d, want at least a quarter of the %d events", conflicts, len(keys))
		}
	})
}

// racingLedger counts the claims that lost.
type racingLedger struct {
	consumer.Ledger
	conflicts *int
}

func (l racingLedger) Store(ctx context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	rev, err := l.Ledger.Store(ctx, in, revision)
	if in.State == consumer.Started && errors.Is(err, consumer.ErrConflict) {
		mu.Lock()
		defer mu.Unlock()
		*l.conflicts++
	}
	return rev, err
}

// mu guards what the doubles of this file count.
var mu sync.Mutex

// TestFault15AnAnswerThatComesLate lets a request's process stand still until
// another one has judged its claim dead; then its answer is written down.
func TestFault15AnAnswerThatComesLate(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Heartbeat = time.Hour
			c.Accounts[0].Provider = slowProvider{p, 5 * time.Minute, ""}
		})
		time.Sleep(time.Second)
		other := w.start(t, &process{}, nil)
		time.Sleep(4 * time.Minute)
		if got := w.state(key); got != consumer.Doubt {
			t.Errorf("while the first stands still: got %s, want doubt", got)
		}
		time.Sleep(10 * time.Minute)
		p.stop(t)
		other.stop(t)
		w.once(t, key)
		if diff := cmp.Diff(map[string]int{"doubt": 1, "created": 1, "ended": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}

// TestFault17AClaimIsNotJudgedByItsClaimersClock finds claims that were made by a
// clock that is wrong by far (fault 16) or by minutes.
func TestFault17AClaimIsNotJudgedByItsClaimersClock(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, -5 * time.Minute, 5 * time.Minute, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 2
				key := w.lead("0001")
				w.known(t, 0, key, "0001", func(in *consumer.Intent) {
					in.State, in.Nonce, in.Claimed = consumer.Started, "another's", time.Now().Add(off)
				})
				p := w.start(t, &process{}, nil)
				time.Sleep(49 * time.Second)
				if got := w.state(key); got != consumer.Started {
					t.Errorf("after 49 s: got %s, want started", got)
				}
				time.Sleep(2 * time.Minute)
				if got := w.state(key); got != consumer.Doubt {
					t.Errorf("after 3 minutes: got %s, want doubt", got)
				}
				next := []string{w.lead("0002"), w.lead("0003")}
				time.Sleep(2 * time.Hour)
				s := status(t, p)
				p.stop(t)
				w.once(t, next...)
				if s.Used != 0 {
					t.Errorf("slots in use after 2 hours: got %d, want 0", s.Used)
				}
				if len(w.made[key]) != 0 {
					t.Errorf("got conversations %v for the claim of another", w.made[key])
				}
			})
		})
	}
}

// TestFault16AWaitOfAClockThatWasAhead finds events that a process whose clock
// was ahead has told to wait for a few seconds. The clock is right again: they
// wait as long as they were meant to, and not for hours.
func TestFault16AWaitOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	const meant = 10 * time.Minute
	for _, ahead := range []time.Duration{0, 20 * time.Second, time.Hour, 9 * time.Hour} {
		for _, state := range []consumer.State{consumer.Waiting, consumer.Doubt} {
			t.Run(fmt.Sprint(state, ahead), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					var edit func(*consumer.Config)
					if state == consumer.Doubt {
						edit = ids(w)
					}
					key := w.lead("0001")
					w.known(t, 0, key, "0001", func(in *consumer.Intent) {
						in.State, in.Open = state, state == consumer.Doubt
						in.NotBefore = time.Now().Add(ahead + meant)
						in.History = []consumer.Transition{{N: 2, State: state, Claim: 1, At: time.Now().Add(ahead)}}
					})
					p := w.start(t, &process{}, edit)
					time.Sleep(meant - time.Second)
					if n := w.posted(); n != 0 {
						t.Errorf("requests before their time: got %d, want none", n)
					}
					time.Sleep(20 * time.Minute)
					p.stop(t)
					w.once(t, key)
				})
			})
		}
	}
}

// panicky panics over one person: while the request is made, or when it is sent.
type panicky struct {
	*process
	prepare, create string
}

func (p panicky) Prepare(request map[string]any) (consumer.Request, error) {
	if request["to"] == p.prepare {
		panic("a fault in the client")
	}
	return p.process.Prepare(request)
}

func (p panicky) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	if b.Items[0].Request.Pair == p.create {
		panic("a fault in the client")
	}
	return p.process.Create(ctx, b)
}

func TestFault42AnEventThatMakesTheClientPanic(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		unfit, poison := w.lead("0001"), w.lead("0002")
		var good []string
		for i := range 5 {
			good = append(good, w.lead(fmt.Sprintf("1%03d", i)))
		}
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Accounts[0].Lanes[0].Batch = 1
			c.Accounts[0].Provider = panicky{p, "+14155550001", "+14155550002"}
		})
		time.Sleep(30 * time.Minute)
		p.stop(t)
		w.once(t, good...)
		if w.state(unfit) != consumer.Dead || w.letters[unfit].Class != "internal" {
			t.Errorf("before the request: got %s of class %q, want dead of class internal", w.state(unfit), w.letters[unfit].Class)
		}
		if w.state(poison) != consumer.Doubt || !strings.Contains(w.letters[poison].Reason, "fault") {
			t.Errorf("in the request: got %s because %q, want doubt because of a fault", w.state(poison), w.letters[poison].Reason)
		}
	})
}

// TestFault43TheNextOwnerCountsWhatTheLastOneHeld kills the owner of a full
// account: the next one waits for its calls, and no longer.
func TestFault43TheNextOwnerCountsWhatTheLastOneHeld(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 100, 5*time.Minute // it refuses nothing: the limit is ours
		for i := range 6 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		three := func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 3 }
		first := w.start(t, &process{}, three)
		time.Sleep(2 * time.Minute)
		w.do(func() { first.dead = true })
		second := w.start(t, &process{}, three)
		time.Sleep(2 * time.Minute)
		if n := w.called(); n != 3 {
			t.Errorf("while the calls of the first live: got %d conversations, want 3", n)
		}
		time.Sleep(90 * time.Second)
		if n := w.called(); n <= 3 {
			t.Error("after the calls of the first: nobody is called")
		}
		time.Sleep(time.Hour)
		second.stop(t)
		first.cancel()
		<-first.done
		if w.highest > 3 || len(w.made) != 6 || len(w.doubled()) > 0 {
			t.Errorf("got highest %d, %d created, doubled %v; want 3, 6, none", w.highest, len(w.made), w.doubled())
		}
	})
}

// TestFault45ALimitBelowWhatIsLive starts again with a lower limit, and has a
// provider lower it by its headers.
func TestFault45ALimitBelowWhatIsLive(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"configured", "header"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit, w.length = 100, 5*time.Minute // it refuses nothing
				for i := range 5 {
					w.lead(fmt.Sprintf("%04d", i))
				}
				limit := 5
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					a := w.accept(b)
					if how == "header" && len(w.made) >= 5 {
						limit = 2
					}
					if how == "header" {
						a.Header = map[string][]string{
							"X-Concurrency-Limit":     {fmt.Sprint(limit)},
							"X-Concurrency-Remaining": {fmt.Sprint(max(0, limit-w.alive()))},
						}
					}
					return a
				}
				five := func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 5 }
				p := w.start(t, &process{}, five)
				time.Sleep(time.Minute)
				if how == "configured" {
					p.stop(t)
					p = w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 2 })
				}
				w.do(func() { w.highest = 0 })
				for i := range 6 {
					w.lead(fmt.Sprintf("1%03d", i))
				}
				time.Sleep(3 * time.Minute)
				if n := w.called(); n != 5 {
					t.Errorf("above the new limit: got %d conversations, want the first 5", n)
				}
				time.Sleep(2 * time.Hour)
				p.stop(t)
				if w.highest > 2 || len(w.made) != 11 || len(w.doubled()) > 0 {
					t.Errorf("got highest %d, %d created, doubled %v; want 2, 11, none", w.highest, len(w.made), w.doubled())
				}
			})
		})
	}
}

// TestFault46OneHotAccountAmongMany gives one account of many a backlog that it
// cannot finish: the others' events do not wait.
func TestFault46OneHotAccountAmongMany(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const accounts, backlog = 50, 1000
		w.limit = accounts * 3
		for i := range backlog {
			w.lead(fmt.Sprintf("%04d", i))
		}
		asked := make(map[string]time.Duration)
		var published time.Time
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			for _, it := range b.Items {
				asked[it.Request.Pair] = time.Since(published)
			}
			return w.accept(b)
		}
		var cold []*stream
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			hot := c.Accounts[0]
			for i := range accounts {
				cold = append(cold, newStream(w, fmt.Sprint("COLD", i)))
				a := hot
				a.Name = fmt.Sprint("cold", i)
				a.Lanes = []consumer.LaneConfig{hot.Lanes[0]}
				a.Lanes[0].Name = fmt.Sprint("cold-", i)
				a.Lanes[0].Events, a.Lanes[0].Due = queue{p, cold[i]}, queue{p, newStream(w, fmt.Sprint("COLDDUE", i))}
				a.Limiter = ratelimiter.Config{Limit: 3, Rand: func() float64 { return .5 }}
				c.Accounts = append(c.Accounts, a)
			}
			c.Accounts[0].Limiter.Limit = 3
		})
		time.Sleep(time.Minute)
		w.do(func() { published = time.Now() })
		for i, s := range cold {
			id := fmt.Sprintf("cold-%04d", i)
			s.publish(map[string][]string{"Content-Type": {"application/cloudevents+json"}}, fmt.Appendf(nil,
				`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%q,"phone":"+1628555%04d"}}`, id, id, i))
		}
		time.Sleep(10 * time.Second)
		outstanding := 0
		w.do(func() {
			for i := range cold {
				took, ok := asked[fmt.Sprintf("+1628555%04d", i)]
				if !ok || took > time.Second {
					t.Errorf("account %d: got its request after %v (%v), want it within a second", i, took, ok)
				}
			}
			for _, r := range w.events.msgs {
				if r.delivered > 0 && !r.acked {
					outstanding++
				}
			}
		})
		if outstanding > 3 {
			t.Errorf("messages that the hot account holds: got %d, want no more than its 3 slots", outstanding)
		}
		w.do(func() { p.dead = true })
		p.cancel()
		<-p.done
	})
}

// TestFault47ALetterIsKeptTwice kills the process when a dead letter, and a
// doubt's copy, was kept: the next one keeps the same letter, which the broker
// knows by lane, intent and N.
func TestFault47ALetterIsKeptTwice(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lead map[string]any
		at   int
	}{
		"dead":  {map[string]any{"id": "0001"}, 2},                          // store dead, keep
		"doubt": {map[string]any{"id": "0001", "phone": "+14155550001"}, 4}, // store started, request, store doubt, keep
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.leadWith("0001", tc.lead)
				w.answer = always(consumer.VerdictDoubt, "cut", 200)
				first := w.start(t, &process{dieAt: tc.at, dieLate: true}, nil)
				time.Sleep(10 * time.Second)
				var kept consumer.Letter
				var ok bool
				w.do(func() { kept, ok = w.letters[key] })
				if n := w.count(func() int { return len(w.outcomes) }); !ok || w.unacked() != 1 || n != 0 {
					t.Fatalf("at the kill: got a letter %v, %d messages left, %d outcomes; want one, 1, none", ok, w.unacked(), n)
				}
				second := w.start(t, &process{}, nil)
				time.Sleep(5 * time.Minute)
				second.stop(t)
				first.cancel()
				<-first.done
				keeps := 0
				for _, act := range w.order {
					if strings.HasPrefix(act, "keep") {
						keeps++
					}
				}
				if diff := cmp.Diff(kept, w.letters[key]); diff != "" || keeps != 2 || w.unacked() != 0 {
					t.Errorf("got %d letters, %d messages left; want 2, 0; the letters (-first +second):\n%s", keeps, w.unacked(), diff)
				}
			})
		})
	}
}

// TestFault48TwoReplays orders the same replay twice, at once and while the first
// one's request runs.
func TestFault48TwoReplays(t *testing.T) {
	t.Parallel()
	for name, apart := range map[string]time.Duration{"at once": 0, "during the request": 10 * time.Second, "after it": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				w.known(t, 0, key, "0001", func(in *consumer.Intent) { in.State = consumer.Dead })
				w.events.msgs[0].acked = true
				p := &process{}
				w.start(t, p, func(c *consumer.Config) { c.Accounts[0].Provider = slowProvider{p, 14 * time.Second, ""} })
				for i := range 2 {
					time.Sleep(time.Duration(i) * apart)
					w.sendAgain(key, 2, w.events.msgs[0].header, w.events.msgs[0].data)
				}
				time.Sleep(10 * time.Minute)
				p.stop(t)
				w.once(t, key)
				if len(w.posts) != 1 {
					t.Errorf("requests: got %d, want 1", len(w.posts))
				}
			})
		})
	}
}

// TestFault49EverythingIsDeliveredAgain has an operator remove the consumer when
// the events have come to each kind of end: every message comes again.
func TestFault49EverythingIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = 3 * time.Minute
		var keys []string
		for i := range 8 {
			keys = append(keys, w.lead(fmt.Sprintf("%04d", i)))
		}
		w.leadWith("bad", map[string]any{"id": "bad"})
		doubtful := keys[0]
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			a := w.accept(b)
			for i, it := range b.Items {
				if it.Intent == doubtful && a.Results[i].Verdict == consumer.VerdictCreated {
					a.Results[i] = consumer.Result{Verdict: consumer.VerdictDoubt, Reason: "cut"}
				}
			}
			return a
		}
		p := w.start(t, &process{}, nil)
		everything := func() {
			for _, r := range w.events.msgs {
				w.again(r)
			}
		}
		time.Sleep(8 * time.Minute) // some have ended, some are live, some wait
		everything()
		time.Sleep(2 * time.Hour)
		before := w.posted()
		kinds := w.kinds()
		everything()
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if w.posted() != before || len(w.doubled()) > 0 || w.unacked() != 0 {
			t.Errorf("got %d requests more, doubled %v, %d messages left; want none", w.posted()-before, w.doubled(), w.unacked())
		}
		if diff := cmp.Diff(kinds, w.kinds()); diff != "" {
			t.Errorf("outcomes by the second delivery (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]int{"created": 7, "ended": 7, "doubt": 1, "rejected": 1}, kinds); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}

// TestFault53NothingIsStrandedByAStop stops the process at the moments around an
// event's arrival: the next one has it at once, not after AckWait.
func TestFault53NothingIsStrandedByAStop(t *testing.T) {
	t.Parallel()
	for _, gap := range []time.Duration{-150 * time.Millisecond, -time.Millisecond, 0, time.Millisecond, time.Second} {
		t.Run(gap.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				p := w.start(t, &process{}, func(c *consumer.Config) { c.PullWait = 20 * time.Second })
				time.Sleep(5 * time.Second)
				if gap > 0 {
					p.cancel()
					time.Sleep(gap)
				}
				key := w.lead("0001")
				if gap <= 0 {
					time.Sleep(-gap)
				}
				p.stop(t)
				second := w.start(t, &process{}, nil)
				time.Sleep(5 * time.Second)
				if n := w.called(); n != 1 {
					t.Errorf("5 s after the next start: got %d conversations, want 1", n)
				}
				time.Sleep(5 * time.Minute)
				second.stop(t)
				w.once(t, key)
			})
		})
	}
}

// TestFault55WhatIsFetchedIsWhatCanBeSent has a backlog behind a full account,
// and then a process that can open no connection: no more is in hand than has a
// slot, and what could not be sent costs nothing.
func TestFault55WhatIsFetchedIsWhatCanBeSent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const backlog = 400
		w.limit, w.length = 5, time.Second
		var keys []string
		for i := range backlog {
			keys = append(keys, w.lead(fmt.Sprintf("%04d", i)))
		}
		well := time.Now().Add(10 * time.Minute)
		most := 0
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			claimed := 0
			for _, s := range w.entries {
				if s.intent.State == consumer.Started {
					claimed++
				}
			}
			most = max(most, claimed)
			if time.Now().Before(well) {
				return all(b, consumer.VerdictUnsent, "dial tcp: socket: too many open files")
			}
			return w.accept(b)
		}
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Minute)
		claims := 0
		w.do(func() {
			for _, s := range w.entries {
				claims += s.intent.Claims
			}
		})
		if claims > 200 {
			t.Errorf("claims while no connection could be opened: got %d in 10 minutes, want a lane that backs off", claims)
		}
		time.Sleep(3 * time.Hour)
		p.stop(t)
		w.once(t, keys...)
		if most > w.limit {
			t.Errorf("claims at once: got %d, want at most %d", most, w.limit)
		}
		for _, s := range w.entries {
			if s.intent.Attempts != 0 {
				t.Errorf("%s: got %d attempts used, want none", s.intent.ID, s.intent.Attempts)
			}
		}
	})
}

// TestFault38OneEventIsOneCall publishes an event again: at once, days later, in
// the other mode, and with other attributes than those that count. The same id of
// another source is another event (fault 40).
func TestFault38OneEventIsOneCall(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const data = `{"id":"0001","phone":"+14155550001"}`
		structured := func(source string, more string) {
			w.events.publish(map[string][]string{"Content-Type": {"application/cloudevents+json"}}, fmt.Appendf(nil,
				`{"specversion":"1.0","id":"0001","source":%q,"type":"lead.created",%s"datacontenttype":"application/json","data":%s}`, source, more, data))
		}
		binary := func() {
			w.events.publish(map[string][]string{
				"Content-Type": {"application/json"}, "ce-specversion": {"1.0"}, "ce-id": {"0001"},
				"ce-source": {"/crm"}, "ce-type": {"lead.created"}, "ce-traceparent": {"00-1-2-01"},
			}, []byte(data))
		}
		p := w.start(t, &process{}, nil)
		structured("/crm", "")
		structured("/crm", "")
		binary()
		time.Sleep(10 * time.Second)
		structured("/crm", `"attempt":"7",`)
		for range 3 {
			time.Sleep(24 * time.Hour)
			structured("/crm", "")
			binary()
		}
		structured("/other", "")
		time.Sleep(time.Hour)
		p.stop(t)
		w.once(t, consumer.Key("l", "/crm", "0001"), consumer.Key("l", "/other", "0001"))
		if len(w.posts) != 2 || len(w.entries) != 2 {
			t.Errorf("got %d requests and %d entries, want one for each source", len(w.posts), len(w.entries))
		}
	})
}

// TestFault41WhatCannotBeRead is kept with a reason, and nobody waits behind it.
func TestFault41WhatCannotBeRead(t *testing.T) {
	t.Parallel()
	structured := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
	bad := map[string]struct {
		header map[string][]string
		data   string
	}{
		"no event":          {nil, "hello"},
		"nothing":           {nil, ""},
		"torn":              {structured, `{"specversion":"1.0","id":"x","sou`},
		"no id":             {structured, `{"specversion":"1.0","source":"/crm","type":"lead.created","data":{"id":1,"phone":"+14155550001"}}`},
		"version 0.3":       {structured, `{"specversion":"0.3","id":"x","source":"/crm","type":"lead.created","data":{"id":1,"phone":"+14155550001"}}`},
		"too large":         {structured, `{"specversion":"1.0","id":"x","source":"/crm","type":"lead.created","data":{"id":1,"phone":"+14155550001","x":"` + strings.Repeat("x", 300<<10) + `"}}`},
		"binary without id": {map[string][]string{"ce-specversion": {"1.0"}, "ce-source": {"/crm"}, "ce-type": {"lead.created"}}, `{"id":1,"phone":"+14155550001"}`},
		"of our own source": {structured, `{"specversion":"1.0","id":"x","source":"/weir/l","type":"lead.created","data":{"id":1,"phone":"+14155550001"}}`},
		"of no known type":  {structured, `{"specversion":"1.0","id":"x","source":"/crm","type":"lead.lost","data":{"id":1,"phone":"+14155550001"}}`},
	}
	bubble(t, func(t *testing.T, w *world) {
		p := w.start(t, &process{}, nil)
		var good []string
		for i := range 3 {
			for range i { // one behind the other
				for _, b := range bad {
					w.events.publish(b.header, []byte(b.data))
				}
			}
			good = append(good, w.lead(fmt.Sprintf("%04d", i)))
		}
		time.Sleep(time.Minute)
		if n := w.called(); n != len(good) {
			t.Errorf("after a minute: got %d conversations, want %d", n, len(good))
		}
		time.Sleep(time.Hour)
		p.stop(t)
		w.once(t, good...)
		if len(w.posts) != len(good) {
			t.Errorf("requests: got %d, want %d", len(w.posts), len(good))
		}
		classes := make(map[string]int)
		for _, l := range w.letters {
			classes[l.Class]++
			if l.Reason == "" || l.State != consumer.Dead {
				t.Errorf("letter: got %s because %q, want dead with a reason", l.State, l.Reason)
			}
		}
		// What has no id that can be read is another event each time; what has
		// one is known again.
		if n := len(w.letters); n < len(bad) || n > 3*len(bad) {
			t.Errorf("letters: got %d of the classes %v, want one for each of the %d kinds or more", n, classes, len(bad))
		}
	})
}
