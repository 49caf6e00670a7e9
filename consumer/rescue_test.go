package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// startled panics over each list, and over the answers for one conversation.
type startled struct {
	lister
	over *string
}

func (p startled) Conversations(context.Context, time.Time) ([]consumer.Conversation, error) {
	panic("a fault in the client")
}

func (p startled) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	if *p.over == "" {
		*p.over = id
	}
	if id == *p.over {
		panic("a fault in the client")
	}
	return p.process.Conversation(ctx, id)
}

// An answer that makes the client panic costs one call its end, until max_call is
// over, and no process: the next owner would get the same answer.
func TestFault42AnAnswerThatMakesTheClientPanic(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 10
		var all []string
		for i := range 10 {
			all = append(all, w.lead(fmt.Sprintf("%04d", i)))
		}
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Accounts[0].Provider = startled{lister{p}, new(string)}
		})
		time.Sleep(30 * time.Minute)
		p.stop(t)
		if len(w.doubled()) > 0 || w.called() != len(all) {
			t.Errorf("got %d conversations, doubled %v; want one of each", w.called(), w.doubled())
		}
		ended := 0
		for _, key := range all {
			if w.state(key) == consumer.Ended {
				ended++
			}
		}
		if ended != len(all)-1 {
			t.Errorf("got %d of %d ends, want all but one", ended, len(all))
		}
	})
}
