package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
)

// How long nothing may change while events are still to come to their ends, and
// how long where nobody is left to do anything. Each is far longer than any wait of
// weir's in these tests.
const (
	standstill = 5 * time.Minute
	deserted   = 30 * time.Second
)

// settle waits until every event has come to its end. When nothing changes any
// more, or the time of all tests is nearly over, it fails and tells what is stuck.
func (k *killed) settle(t *testing.T, b *broker.Broker) {
	t.Helper()
	end, limited := t.Deadline()
	before, since := "", time.Now()
	for {
		left := k.left(t.Context(), b)
		if left == "" {
			return
		}
		if left != before {
			before, since = left, time.Now()
		}
		still := time.Since(since)
		if still > standstill || still > deserted && !populated(t) || limited && time.Until(end) < time.Minute {
			t.Fatalf("events have not come to their ends; the last change was %v ago; weir runs: %v\n%s\n%s", still.Round(time.Second), populated(t), left, k.scene(b))
		}
		stand(t, 50*time.Millisecond)
	}
}

// left tells which events have not come to their ends, and what there is still to
// do; empty if nothing.
func (k *killed) left(ctx context.Context, b *broker.Broker) string {
	pending, unacked, err := b.Backlog(ctx, "acme")
	if err != nil {
		return fmt.Sprintln("the backlog is not known:", err)
	}
	states, err := k.read(ctx, b)
	if err != nil {
		return fmt.Sprintln("the ledger cannot be read:", err)
	}
	var s strings.Builder
	if pending+unacked > 0 {
		fmt.Fprintf(&s, "messages: %d were never delivered, %d are not acknowledged\n", pending, unacked)
	}
	for _, key := range k.keys {
		if in := states[key]; in.State != consumer.Ended && in.State != consumer.Doubt {
			fmt.Fprintf(&s, "%s %s: %v, %d transitions, %d claims, not before %v, conversation %q, because %q\n", key, in.ID, in.State, in.N, in.Claims, in.NotBefore, in.Conversation, in.Reason)
		}
	}
	return s.String()
}

// read reads the ledger.
func (k *killed) read(ctx context.Context, b *broker.Broker) (map[string]consumer.Intent, error) {
	lg, err := ledger.Open(ctx, b.JetStream(), ledger.Config{MaxBytes: k.room})
	if err != nil {
		return nil, err
	}
	states := make(map[string]consumer.Intent)
	for entry, err := range lg.Scan(ctx, "acme", time.Time{}) {
		if err != nil {
			return nil, err
		}
		states[entry.Intent.Key] = entry.Intent
	}
	return states, nil
}

// scene tells what the lane says of itself, and the broker of the streams and their
// consumers.
func (k *killed) scene(b *broker.Broker) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var s strings.Builder
	request, err := json.Marshal(consumer.Command{Verb: consumer.VerbStatus})
	if err != nil {
		return err.Error()
	}
	reply, err := b.Control(ctx, "acme", request)
	fmt.Fprintf(&s, "lane: %s (error: %v)\n", reply, err)
	for _, name := range []string{ledger.Stream, broker.StreamEvents, broker.StreamLater, broker.StreamLanes} {
		stream, err := b.JetStream().Stream(ctx, name)
		if err != nil {
			fmt.Fprintf(&s, "stream %s: %v\n", name, err)
			continue
		}
		info, _ := json.Marshal(stream.CachedInfo())
		fmt.Fprintf(&s, "stream %s: %s\n", name, info)
		names := stream.ConsumerNames(ctx)
		for name := range names.Name() {
			c, err := stream.Consumer(ctx, name)
			if err != nil {
				fmt.Fprintf(&s, "consumer %s: %v\n", name, err)
				continue
			}
			info, _ := json.Marshal(c.CachedInfo())
			fmt.Fprintf(&s, "consumer %s: %s\n", name, info)
		}
		if names.Err() != nil {
			fmt.Fprintf(&s, "consumers of %s: %v\n", name, names.Err())
		}
	}
	return s.String()
}

// children are the processes that each test has started.
var children struct {
	sync.Mutex
	of map[*testing.T][]*exec.Cmd
}

// born enters a process.
func born(t *testing.T, cmd *exec.Cmd) {
	children.Lock()
	defer children.Unlock()
	if children.of == nil {
		children.of = make(map[*testing.T][]*exec.Cmd)
	}
	children.of[t] = append(children.of[t], cmd)
	t.Cleanup(func() {
		children.Lock()
		defer children.Unlock()
		delete(children.of, t)
	})
}

// populated reports whether a process that the test has started runs, or it has
// started none.
func populated(t *testing.T) bool {
	children.Lock()
	defer children.Unlock()
	for _, cmd := range children.of[t] {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == nil && info.Signo == 0 {
			return true
		}
	}
	return len(children.of[t]) == 0
}
