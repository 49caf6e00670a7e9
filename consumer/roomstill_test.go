package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
)

// mute is a provider that answers no request for a call before it is let.
type mute struct {
	*process
	let chan struct{}
}

func (m *mute) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	a := m.process.Create(ctx, b)
	if b.Items[0].Request.Channel == "telephone" {
		<-m.let
	}
	return a
}

// However many calls there are, and however long the provider takes to answer those
// that are in flight, they leave a lane room to read its mail and to send it.
func TestMailNeverWaitsBehindCallsWithoutAnswer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 400, 5*time.Minute
		m := &mute{&process{}, make(chan struct{}, 20)}
		for i := range 20 { // they open the window
			w.by("telephone", i)
			m.let <- struct{}{}
		}
		edit := channels(t, w)
		w.start(t, m.process, func(c *consumer.Config) {
			edit(c)
			c.Accounts[0].Channels["telephone"] = ratelimiter.Config{Limit: w.limit, Rand: func() float64 { return .5 }}
			c.Accounts[0].Provider = m
			c.Accounts[0].Timeout, c.Accounts[0].MeanCall = time.Hour, w.length
		})
		await(t, w, func() bool { return len(w.made) == 20 })
		for i := range 60 {
			w.by("telephone", 100+i)
		}
		time.Sleep(5 * time.Second)
		if got := w.posted(); got != 28 {
			t.Fatalf("requests that were begun: got %d, want 28", got)
		}
		for i := range 30 {
			w.by("email", 200+i)
		}
		time.Sleep(time.Minute)
		if got := w.madeOf("email"); got != 30 {
			t.Errorf("mails after a minute: got %d, want all 30", got)
		}
		close(m.let)
		await(t, w, func() bool { return len(w.made) == 110 })
		m.stop(t)
		if len(w.doubled()) > 0 || w.unacked() > 0 {
			t.Errorf("doubled %v, %d messages left", w.doubled(), w.unacked())
		}
	})
}
