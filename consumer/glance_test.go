package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
)

// headed is a process whose provider tells limit and remaining on every answer.
type headed struct{ *process }

func (p headed) header() (h map[string][]string) {
	p.w.do(func() {
		h = map[string][]string{
			"X-Concurrency-Limit":     {strconv.Itoa(p.w.limit)},
			"X-Concurrency-Remaining": {strconv.Itoa(max(0, p.w.limit-p.w.alive()))},
		}
	})
	return h
}

func (p headed) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	a := p.process.Create(ctx, b)
	if a.Status != 0 {
		a.Header = p.header()
	}
	return a
}

func (p headed) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	c, err := p.process.Conversation(ctx, id)
	if err == nil {
		c.Header = p.header()
	}
	return c, err
}

// backlog has n leads wait, whose calls last 20 s on average, and returns how often
// a request was refused.
func backlog(w *world, n int, lax bool) *int {
	rng := rand.New(rand.NewPCG(1, 2))
	lengths := make(map[string]time.Duration)
	for i := range n {
		lengths[w.lead(fmt.Sprintf("%04d", i))] = 8*time.Second + time.Duration(rng.ExpFloat64()*float64(12*time.Second))
	}
	refused := new(int)
	w.answer = func(w *world, b consumer.Batch) consumer.Answer {
		limit := w.limit
		if lax {
			w.limit = 1000
		}
		a := w.accept(b)
		w.limit = limit
		if a.Full {
			*refused++
		}
		for i, r := range a.Results {
			if r.Verdict == consumer.VerdictCreated {
				w.live[r.Conversation] = time.Now().Add(lengths[b.Items[i].Intent])
			}
		}
		return a
	}
	return refused
}

// finish waits until every lead has its conversation and its end was told, and
// returns how long the last creation took, in virtual time.
func finish(t *testing.T, w *world, leads int) time.Duration {
	t.Helper()
	began, took := time.Now(), time.Duration(0)
	for time.Since(began) < time.Hour {
		time.Sleep(time.Second)
		made := 0
		w.do(func() { made = len(w.made) })
		if made == leads && took == 0 {
			took = time.Since(began)
		}
		if w.kinds()["ended"] == leads {
			return took
		}
	}
	t.Fatalf("after an hour: %v of %d leads", w.kinds(), leads)
	return 0
}

// Where headers tell how many slots are free, a full account is looked at rather
// than asked, and no call is asked for more than is needed to tell its end.
func TestSlotsAreSeenInHeaders(t *testing.T) {
	t.Parallel()
	for _, lax := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuses nothing=%v", lax), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 10
				refused := backlog(w, 300, lax)
				p := w.start(t, &process{}, func(c *consumer.Config) {
					c.Accounts[0].Provider = headed{c.Accounts[0].Provider.(*process)}
				})
				took := finish(t, w, 300)
				p.stop(t)
				if *refused != 0 {
					t.Errorf("requests refused: got %d, want none", *refused)
				}
				if w.highest > w.limit || len(w.doubled()) > 0 {
					t.Errorf("got %d calls at once of %d, doubled %v", w.highest, w.limit, w.doubled())
				}
				// Through 10 slots these calls take about 570 s at least.
				if per := float64(w.gets+len(w.posts)) / 300; per > 3.5 || took > 600*time.Second {
					t.Errorf("got %.2f requests a call and %v; want at most 3.5 and 600s", per, took)
				}
			})
		})
	}
}

// Where the operator vouches that the provider refuses what passes the limit, a
// full account is asked for one more.
func TestProbesPassTheBooks(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 10
		refused := backlog(w, 300, false)
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Limiter.Probe = ratelimiter.ProbePost
		})
		took := finish(t, w, 300)
		p.stop(t)
		if *refused == 0 {
			t.Error("no request was refused: nothing was probed")
		}
		if w.highest > w.limit || len(w.doubled()) > 0 {
			t.Errorf("got %d calls at once of %d, doubled %v", w.highest, w.limit, w.doubled())
		}
		if per := float64(w.gets) / 300; per > 3 || took > 600*time.Second {
			t.Errorf("got %.2f GETs a call and %v; want at most 3 and 600s", per, took)
		}
	})
}

// Calls are asked for by their own times as long as no event waits for a slot.
func TestNothingIsLookedAtForNobody(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = 5 * time.Minute
		w.lead("0001")
		w.lead("0002")
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Provider = headed{c.Accounts[0].Provider.(*process)}
		})
		time.Sleep(4 * time.Minute)
		gets := 0
		w.do(func() { gets = w.gets })
		// 2 calls, asked for after 20 s and then every 10 s.
		if gets == 0 || gets > 2*25 {
			t.Errorf("GETs in 4 minutes: got %d, want at most 50", gets)
		}
		w.lead("0003")
		w.lead("0004")
		time.Sleep(30 * time.Second)
		more := 0
		w.do(func() { more = w.gets - gets })
		if more < 15 { // 1 s between two looks, at 20 s and 3 slots
			t.Errorf("GETs in 30 s with an event that waits: got %d, want at least 15", more)
		}
		p.stop(t)
	})
}

// A provider in trouble is asked less and less.
func TestFailingGETsAreSpaced(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 20
		w.length = 10 * time.Minute
		for i := range 20 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		before := 0
		w.do(func() { before, w.gone = w.gets, true })
		time.Sleep(5 * time.Minute)
		during := 0
		w.do(func() { during, w.gone = w.gets-before, false })
		if during > 30 { // one each 15 s, and a few at first
			t.Errorf("GETs in 5 minutes of an outage: got %d, want at most 30", during)
		}
		time.Sleep(30 * time.Second)
		after := 0
		w.do(func() { after = w.gets - before - during })
		if after < 20 {
			t.Errorf("GETs in 30 s after it: got %d, want at least 20", after)
		}
		p.stop(t)
	})
}

// Where headers show the slots that come free, and webhooks have told of the ends, a
// call is hardly asked for: its own webhook will tell.
func TestHeadersAndWebhooksLeaveLittleToAsk(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 10
		backlog(w, 100, false)
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Provider = headed{c.Accounts[0].Provider.(*process)}
		})
		stop := w.webhooks(t, p, func(string) []time.Duration { return []time.Duration{200 * time.Millisecond} })
		finish(t, w, 100)
		stop()
		w.do(func() { w.answer, w.length = nil, time.Hour })
		w.lead("long")
		gets := 0
		w.do(func() { gets = w.gets })
		time.Sleep(8 * time.Minute)
		w.do(func() { gets = w.gets - gets })
		if gets > 20 { // each ten seconds without webhooks, which is 47 times
			t.Errorf("a call of eight minutes was asked for %d times, want at most 20", gets)
		}
		p.stop(t)
	})
}
