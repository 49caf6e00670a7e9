package broker_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirhq/weir/internal/broker"
)

// serve answers a lane's commands until the function that it returns is called, which
// returns when all are answered.
func serve(t *testing.T, b *broker.Broker, lane string, handle broker.Handler) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := b.ServeControl(ctx, lane, handle)
	if err != nil {
		t.Fatalf("serve %s: %v", lane, err)
	}
	if err := b.Flush(); err != nil { // the server knows
		t.Fatal(err)
	}
	return func() { cancel(); wait() }
}

// A lane whose commands take for ever is asked more than it has room for; what does
// not fit is dropped. Another lane is answered all the same.
func TestALaneThatIsAskedTooMuchHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	owner, cli := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	const room = 16 + 512 // handled at one time, and waiting
	var busy, most, done atomic.Int64
	release := make(chan struct{})
	endFlooded := serve(t, owner, "flooded", func(context.Context, []byte) []byte {
		n := busy.Add(1)
		defer busy.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-release
		done.Add(1)
		return nil
	})
	endOther := serve(t, owner, "other", func(_ context.Context, request []byte) []byte { return request })
	for range room + 100 {
		if err := cli.Tell("weir.ctl.flooded"); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 { // each comes after all of the flood
		if got, err := cli.Control(t.Context(), "other", fmt.Append(nil, n)); err != nil || string(got) != fmt.Sprint(n) {
			t.Errorf("the other lane: got %q, %v; want %d", got, err, n)
		}
	}
	close(release)
	endFlooded()
	endOther()
	if most.Load() > 16 || done.Load() != room {
		t.Errorf("the flooded lane handled %d at one time, %d in all; want at most 16, and %d", most.Load(), done.Load(), room)
	}
}

// What was asked before the end is answered after it.
func TestWhatWasAskedBeforeTheEndIsAnswered(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	owner, cli := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	release := make(chan struct{})
	var begun sync.WaitGroup
	begun.Add(16)
	var first atomic.Int64
	end := serve(t, owner, lane, func(_ context.Context, request []byte) []byte {
		if first.Add(1) <= 16 {
			begun.Done()
		}
		<-release
		return request
	})
	subscriptions, sent := e.Subscriptions(), cli.Sent()
	var asked sync.WaitGroup
	for n := range 100 {
		asked.Go(func() {
			if got, err := cli.Control(t.Context(), lane, fmt.Append(nil, n)); err != nil || string(got) != fmt.Sprint(n) {
				t.Errorf("asked before the end: got %q, %v; want %d", got, err, n)
			}
		})
	}
	begun.Wait()
	until(t, "all are asked", func() bool { return cli.Sent() >= sent+100 })
	if err := cli.Flush(); err != nil { // the server has them
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	ended.Go(end)
	until(t, "no more is wanted", func() bool { return e.Subscriptions() < subscriptions })
	close(release)
	ended.Wait()
	asked.Wait()
}

// A lane that is asked nothing has no goroutine.
func TestLanesThatAreAskedNothingHaveNoGoroutine(t *testing.T) {
	// Not parallel: it counts the goroutines of all.
	e := embed(t, broker.EmbeddedConfig{})
	owner := connect(t, e, broker.Config{})
	before := runtime.NumGoroutine()
	var ends []func()
	for n := range 200 {
		ends = append(ends, serve(t, owner, fmt.Sprint("lane-", n), func(context.Context, []byte) []byte { return nil }))
	}
	if more := runtime.NumGoroutine() - before; more > 20 {
		t.Errorf("200 lanes that are asked nothing have %d goroutines", more)
	}
	for _, end := range ends {
		end()
	}
}
