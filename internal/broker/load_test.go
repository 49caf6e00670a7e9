package broker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/internal/broker"
)

// All replicas hear the question, the one that asks among them; nobody else's
// answer is taken for one of theirs.
func TestLoad(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	asker := connect(t, e, broker.Config{})
	if err := asker.AskLoad(t.Context(), func([]byte) bool { return true }); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("without a replica: got %v, want ErrNoResponders", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 3)
	for _, name := range []string{"a", "b", "c"} {
		b := asker
		if name != "a" {
			b = connect(t, e, broker.Config{})
		}
		go func() { done <- b.ServeLoad(ctx, func() []byte { return []byte(name) }) }()
	}
	var got string
	until(t, "all to answer", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var heard []string
		err := asker.AskLoad(ctx, func(answer []byte) bool {
			heard = append(heard, string(answer))
			return len(heard) == 3
		})
		slices.Sort(heard)
		got = strings.Join(heard, " ")
		return err == nil
	})
	if got != "a b c" {
		t.Errorf("answers: got %q, want those of a, b and c", got)
	}
	brief, cancel := context.WithCancel(t.Context())
	n := 0
	err := asker.AskLoad(brief, func([]byte) bool {
		if n++; n == 3 {
			cancel() // a fourth does not come
		}
		return false
	})
	if !errors.Is(err, context.Canceled) || n != 3 {
		t.Errorf("waiting for one that is not there: got %v after %d answers, want the end of the context after 3", err, n)
	}
	stop()
	for range 3 {
		if err := <-done; err != nil {
			t.Errorf("serve: got %v, want nil at the end of its context", err)
		}
	}
}
