package consumer_test

import (
	"bytes"
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

const year = 365 * 24 * time.Hour

// ahead is a look at a clock that this host's is ahead of by so much. The host's
// own clock is the bubble's, which nothing turns: the other one does.
func ahead(by time.Duration) consumer.Sample {
	now := time.Now()
	return consumer.Sample{Sent: now, Received: now, Shown: now.Round(0).Add(-by)}
}

// clocked runs an engine whose host is ahead of the broker by so much.
func (w *world) clocked(t *testing.T, p *process, by time.Duration, edit func(*consumer.Config)) *consumer.Clock {
	t.Helper()
	clock := &consumer.Clock{}
	clock.Observe(consumer.BrokerClock, ahead(by))
	w.start(t, p, func(cfg *consumer.Config) {
		cfg.Clock = clock
		if edit != nil {
			edit(cfg)
		}
	})
	return clock
}

// A clock that is wrong by a year makes a backlog look too old, by one clock or
// the other. Nothing of it is judged until the clocks agree; what is young by
// both goes on.
func TestH25ABacklogIsNotTooOldByAWrongClock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ahead time.Duration // of the host, before the broker
		age   time.Duration // by the host's clock
		late  time.Duration // the age when the clocks agree again
		want  consumer.State
	}{
		"ahead, and young in truth":  {ahead: year, age: year, late: time.Minute, want: consumer.Ended},
		"ahead, and old in truth":    {ahead: year, age: year, late: year, want: consumer.Dead},
		"behind, and old in truth":   {ahead: -year, age: time.Minute, late: year, want: consumer.Dead},
		"behind, and young in truth": {ahead: -year, age: time.Minute, late: time.Minute, want: consumer.Ended},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 100
				var keys []string
				for _, id := range []string{"0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012"} {
					keys = append(keys, w.lead(id))
				}
				for _, r := range w.events.msgs { // before anybody reads them
					r.published = time.Now().Add(-tt.age)
				}
				p := &process{}
				clock := w.clocked(t, p, tt.ahead, nil)
				young := w.lead("0099")                          // by its stream's clock, which tells no age
				time.Sleep(5*time.Minute + 137*time.Millisecond) // when no event is just being judged
				for _, key := range keys {
					if s := w.state(key); s != consumer.Absent {
						t.Fatalf("while the clocks differ: got %q, want no entry", s)
					}
				}
				if s := w.state(young); s != consumer.Ended {
					t.Errorf("an event of today: got %q, want it to go on", s)
				}
				s := status(t, p)
				if !strings.Contains(s.Clock, "the broker's") || !strings.Contains(s.Why, s.Clock) || !strings.Contains(s.Why, "too old; set the clocks right") {
					t.Errorf("the lane says %+v, want why it waits", s)
				}
				w.do(func() {
					for _, r := range w.events.msgs[:12] {
						r.published = time.Now().Add(-tt.late)
					}
				})
				clock.Observe(consumer.BrokerClock, ahead(0))
				time.Sleep(5 * time.Minute)
				p.stop(t)
				for _, key := range keys {
					if s := w.state(key); s != tt.want {
						t.Errorf("when they agree again: got %q, want %q", s, tt.want)
					}
				}
				if s := status(t, p); s.Clock != "" || s.Why != "" {
					t.Errorf("when they agree again the lane says %+v", s)
				}
			})
		})
	}
}

// A provider's wish to wait is met, neither undercut nor prolonged, whatever the
// clocks say.
func TestH25AWaitIsMetWhateverTheClocksSay(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"agreed": 0, "a year ahead": year, "a year behind": -year} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				var posts []time.Time
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					posts = append(posts, time.Now())
					if len(posts) > 1 {
						return w.accept(b)
					}
					a := all(b, consumer.VerdictFull, "full")
					a.Status, a.Full, a.Header = 429, true, map[string][]string{"Retry-After": {"60"}}
					return a
				}
				p := &process{}
				w.clocked(t, p, by, nil)
				key := w.lead("0001")
				time.Sleep(10 * time.Minute)
				p.stop(t)
				if s := w.state(key); s != consumer.Ended || len(posts) != 2 {
					t.Fatalf("got %q after %d requests, want ended after 2", s, len(posts))
				}
				if wait := posts[1].Sub(posts[0]); wait < time.Minute || wait > 2*time.Minute {
					t.Errorf("got %v between the requests, want a minute", wait)
				}
			})
		})
	}
}

// A wait that another process began is over when it is by both clocks.
func TestH25NotBeforeIsMetByTheLaterOfBoth(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ahead     time.Duration // of the host, before the broker
		notBefore time.Duration // from now by the host's clock
		want      time.Duration // from now until the request
	}{
		"agreed":           {0, 2 * time.Minute, 2 * time.Minute},
		"host ahead":       {10 * time.Minute, -time.Minute, 9 * time.Minute},
		"host behind":      {-10 * time.Minute, 9 * time.Minute, 9 * time.Minute},
		"over by both":     {10 * time.Minute, -11 * time.Minute, 0},
		"host a bit ahead": {20 * time.Second, -time.Second, 19 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				began := time.Now()
				w.entries["l."+key] = stored{consumer.Intent{
					Lane: "l", Key: key, State: consumer.Waiting, N: 2, Claims: 1, Source: "/crm", ID: "0001",
					Digest: w.digest(t, 0), NotBefore: began.Round(0).Add(tt.notBefore),
				}, 1}
				w.revision = 1
				var sent time.Duration
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					sent = time.Since(began)
					return w.accept(b)
				}
				p := &process{}
				w.clocked(t, p, tt.ahead, nil)
				time.Sleep(20 * time.Minute)
				p.stop(t)
				if sent < tt.want || sent > tt.want+time.Minute || w.posted() != 1 {
					t.Errorf("got %d requests, the last after %v; want one after %v", w.posted(), sent, tt.want)
				}
			})
		})
	}
}

// A long wait ends by the broker's clock, for it is the broker that delivers.
func TestH25ALongWaitIsDeliveredByTheBrokersClock(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{0, -10 * time.Minute} {
		bubble(t, func(t *testing.T, w *world) {
			var posts []time.Time
			w.answer = func(w *world, b consumer.Batch) consumer.Answer {
				posts = append(posts, time.Now())
				if len(posts) > 1 {
					return w.accept(b)
				}
				a := all(b, consumer.VerdictFull, "full")
				a.Status, a.Full, a.Header = 429, true, map[string][]string{"Retry-After": {"3600"}}
				return a
			}
			p := &process{}
			w.clocked(t, p, by, nil)
			key := w.lead("0001")
			time.Sleep(time.Minute)
			w.do(func() {
				if len(w.due.msgs) != 1 || (w.due.msgs[0].ready.Sub(posts[0])-time.Hour+by).Abs() > time.Second {
					t.Errorf("%v ahead: got %+v, want one schedule, an hour later by the broker's clock", by, w.due.msgs)
				}
			})
			time.Sleep(2 * time.Hour)
			p.stop(t)
			if s := w.state(key); s != consumer.Ended || len(posts) != 2 {
				t.Errorf("%v ahead: got %q after %d requests, want ended after 2", by, s, len(posts))
			}
		})
	}
}

// sinceLedger notes from when on it was scanned.
type sinceLedger struct {
	*process
	since *time.Time
}

func (l sinceLedger) Scan(ctx context.Context, lane string, since time.Time) iter.Seq2[consumer.Entry, error] {
	if l.since.IsZero() {
		*l.since = since
	}
	return l.process.Scan(ctx, lane, since)
}

// A process that starts with a wrong clock, or finds the claims of one that had
// one, counts their conversations: a slot is held for too long rather than too
// short, and not for ever.
func TestH25SlotsOfAnotherClock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ahead   time.Duration // of the host, before the broker
		claimed time.Duration // before now, by this host's clock
		held    bool
	}{
		"agreed":                    {0, time.Minute, true},
		"agreed, long ago":          {0, time.Hour, false},
		"this clock is ahead":       {year, year, true},
		"this clock is behind":      {-year, -year, true},
		"the other's was ahead":     {0, -year, true},
		"this clock is a bit ahead": {20 * time.Second, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit, w.gone = 1, true // GETs fail: the books alone tell
				began := time.Now()
				w.entries["l.x"] = stored{consumer.Intent{
					Lane: "l", Key: "x", State: consumer.Created, N: 2, Claims: 1, Conversation: "c", Claimed: began.Round(0).Add(-tt.claimed),
				}, 1}
				w.revision = 1
				p, since := &process{}, time.Time{}
				w.clocked(t, p, tt.ahead, func(cfg *consumer.Config) { cfg.Ledger = sinceLedger{p, &since} })
				w.lead("0001")
				time.Sleep(5 * time.Minute)
				if early := w.posted() > 0; early == tt.held {
					t.Errorf("within 5 min: got a request %v, want it %v", early, !tt.held)
				}
				time.Sleep(10 * time.Minute)
				if w.posted() == 0 {
					t.Error("after MaxCall: got no request, want one")
				}
				p.stop(t)
				if since.After(began) || since.After(began.Add(-tt.ahead)) {
					t.Errorf("the ledger was read from %v on, %v before; want it early enough by the broker's clock", since, began.Sub(since))
				}
			})
		})
	}
}

// dated is a process whose provider tells a time that this host is ahead of.
type dated struct {
	*process
	ahead         *time.Duration
	mute, silence bool // creates, queries tell none
}

func (d dated) header() map[string][]string {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return map[string][]string{"Date": {time.Now().Add(-*d.ahead).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}}
}

func (d dated) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	a := d.process.Create(ctx, b)
	if !d.mute {
		a.Header = d.header()
	}
	return a
}

func (d dated) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	conv, err := d.process.Conversation(ctx, id)
	if !d.silence {
		conv.Header = d.header()
	}
	return conv, err
}

// The provider's clock counts for its own account. What does not depend on the
// time of day goes on, and what does as soon as the clock is set right, although
// nothing else is asked for.
func TestH25TheProvidersDate(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		off := time.Hour
		p := &process{}
		clock := w.clocked(t, p, 0, func(cfg *consumer.Config) { cfg.Accounts[0].Provider = dated{process: p, ahead: &off} })
		key := w.lead("0001")
		time.Sleep(time.Minute)
		if s := status(t, p); !strings.HasPrefix(s.Clock, "this machine's clock is 59m") || !strings.HasSuffix(s.Clock, "ahead of account a's") || !strings.Contains(s.Why, s.Clock) {
			t.Errorf("the lane says %+v, want how far its provider's clock is off", s)
		}
		if got, known := clock.Offset("account a"); !known || got < 59*time.Minute || got > time.Hour {
			t.Errorf("offset: got %v, %v; want an hour", got, known)
		}
		if _, known := clock.Offset("account b"); known {
			t.Error("offset of a clock that nobody looked at: want none")
		}
		if err := clock.Trusted(); err != nil {
			t.Errorf("the broker's clock: got %v, want trust", err)
		}
		if s := w.state(key); s != consumer.Ended {
			t.Errorf("got %q, want it ended", s)
		}
		old := consumer.Key("l", "/crm", "0002")
		w.do(func() {
			r := *w.events.msgs[0]
			w.events.msgs = append(w.events.msgs, &record{
				seq: 2, header: r.header, data: bytes.ReplaceAll(r.data, []byte("0001"), []byte("0002")),
				ready: time.Now(), published: time.Now().Add(-100 * 24 * time.Hour),
			})
			w.events.stir()
			off = 0
		})
		time.Sleep(5 * time.Second)
		if s := w.state(old); s != consumer.Absent {
			t.Errorf("before the clock is known to be right: got %q, want no entry", s)
		}
		time.Sleep(3 * time.Minute)
		if s := status(t, p); s.Clock != "" {
			t.Errorf("when it agrees again the lane says %+v", s)
		}
		if s := w.state(old); s != consumer.Dead {
			t.Errorf("when it agrees again: got %q, want dead", s)
		}
		p.stop(t)
	})
}

// Creates tell the date, and queries do.
func TestH25EachAnswerHasADate(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]dated{"create": {silence: true}, "query": {mute: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				off := time.Hour
				p := &process{}
				d.process, d.ahead = p, &off
				w.clocked(t, p, 0, func(cfg *consumer.Config) { cfg.Accounts[0].Provider = d })
				w.lead("0001")
				time.Sleep(time.Minute)
				if s := status(t, p); s.Clock == "" {
					t.Errorf("the lane says %+v, want how far its provider's clock is off", s)
				}
				p.stop(t)
			})
		})
	}
}

// written is a ledger whose entries were written now, by its own clock.
type written struct{ *process }

func (l written) Scan(ctx context.Context, lane string, since time.Time) iter.Seq2[consumer.Entry, error] {
	now := time.Now().Round(0)
	return func(yield func(consumer.Entry, error) bool) {
		for e, err := range l.process.Scan(ctx, lane, since) {
			e.Written = now
			if !yield(e, err) {
				return
			}
		}
	}
}

// A process whose clock was hours behind placed a call. The next one, whose clock
// is right, counts its slot all the same; and it counts none of an event that was
// never claimed.
func TestH25SlotsOfAClockThatWasBehind(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in    consumer.Intent
		ahead time.Duration // of the host, before the broker
		held  bool
	}{
		"claimed": {consumer.Intent{
			State: consumer.Created, N: 2, Claims: 1, Conversation: "c",
			History: []consumer.Transition{{N: 1, State: consumer.Started, Claim: 1}, {N: 2, State: consumer.Created, Claim: 1}},
		}, 0, true},
		"in question": {consumer.Intent{
			State: consumer.Doubt, N: 1, History: []consumer.Transition{{N: 1, State: consumer.Doubt}},
		}, year, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit, w.gone = 1, true // GETs fail: the books alone tell
				behind := time.Now().Round(0).Add(-9 * time.Hour)
				tt.in.Lane, tt.in.Key = "l", "x"
				for i := range tt.in.History {
					tt.in.History[i].At = behind
				}
				if tt.in.Claims > 0 {
					tt.in.Claimed = behind
				}
				w.entries["l.x"] = stored{tt.in, 1}
				w.revision = 1
				p := &process{}
				w.clocked(t, p, tt.ahead, func(cfg *consumer.Config) { cfg.Ledger = written{p} })
				w.lead("0001")
				time.Sleep(5 * time.Minute)
				if early := w.posted() > 0; early == tt.held {
					t.Errorf("within 5 min: got a request %v, want it %v", early, !tt.held)
				}
				time.Sleep(10 * time.Minute)
				if w.posted() == 0 {
					t.Error("after MaxCall: got no request, want one")
				}
				p.stop(t)
			})
		})
	}
}
