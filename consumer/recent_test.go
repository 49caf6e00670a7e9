package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

func TestRecentCountsUnexplainedRefusals(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 1, 5*time.Minute // of ten, so that somebody else seems to have nine
		for i := range 5 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 10 })
		time.Sleep(4 * time.Minute)
		s := status(t, p)
		if s.Unexplained == 0 || s.Foreign != int(s.Unexplained) {
			t.Errorf("got %d unexplained, %d of them lately; want all of some", s.Unexplained, s.Foreign)
		}
		if s.Breaker != "closed" {
			t.Errorf("breaker: got %q, want closed", s.Breaker)
		}
		w.do(func() { w.limit = 100 })
		time.Sleep(30 * time.Minute)
		if later := status(t, p); later.Foreign != 0 || later.Unexplained < s.Unexplained {
			t.Errorf("half an hour later: got %d lately of %d, want none of at least %d", later.Foreign, later.Unexplained, s.Unexplained)
		}
		p.stop(t)
	})
}

func TestRecentCountsEqualRefusals(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.nameless(0, 7)
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		if s := status(t, p); s.Refusals != 7 || !strings.Contains(s.Refusal, "phone") {
			t.Errorf("got %d refusals, %q; want 7 for want of a phone", s.Refusals, s.Refusal)
		}
		w.lead("0100")
		time.Sleep(time.Minute)
		if s := status(t, p); s.Refusals != 0 || s.Refusal != "" {
			t.Errorf("after one that could be sent: got %d, %q; want none", s.Refusals, s.Refusal)
		}
		p.stop(t)
	})
}

func TestRecentCountsEndsWithoutAWebhook(t *testing.T) {
	t.Parallel()
	for _, hooked := range []bool{true, false} {
		bubble(t, func(t *testing.T, w *world) {
			for i := range 6 {
				w.lead(fmt.Sprintf("%04d", i))
			}
			p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Hooked = hooked })
			time.Sleep(time.Hour)
			want := 0
			if hooked {
				want = 6
			}
			if s := status(t, p); s.Silent != want {
				t.Errorf("hooked %v: got %d, want %d", hooked, s.Silent, want)
			}
			p.stop(t)
		})
	}
}

func TestRecentCountsWhatWaits(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.hours = closedFor(3 * time.Hour)
		w.lead("0001")
		w.lead("0002")
		p := w.start(t, &process{}, calmly)
		time.Sleep(time.Minute)
		if s := status(t, p); s.Waits[consumer.CauseWindow] != 2 {
			t.Errorf("got %v, want 2 that wait for calling hours", s.Waits)
		}
		p.stop(t)
	})
}
