package consumer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/ratelimiter"
)

// BenchmarkLook is a look at the live calls at which nothing is due, and a call that
// begins and ends among them.
func BenchmarkLook(b *testing.B) {
	for _, live := range []int{20, 1000, 10_000} {
		e := &Engine{lg: zerolog.Nop(), cfg: Config{Fence: func() error { return nil }}}
		a, err := newAccount(e, AccountConfig{Name: "a", Limiter: ratelimiter.Config{Limit: 2 * live}})
		if err != nil {
			b.Fatal(err)
		}
		enter := func(i int) *slot {
			s := a.enter(&lane{}, a.pool(""), slotKey{fmt.Sprint(i), 1}, time.Now(), true)
			s.conversation, s.poll = "c", time.Now().Add(time.Hour)
			a.file(s)
			return s
		}
		for i := range live {
			enter(i)
		}
		b.Run(fmt.Sprintf("look/%d", live), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.expire(time.Now())
				a.pollEnds(context.Background(), time.Now())
			}
		})
		b.Run(fmt.Sprintf("call/%d", live), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.drop(enter(live))
			}
		})
	}
}
