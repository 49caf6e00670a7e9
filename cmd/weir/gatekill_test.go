package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
)

// gateDir in the environment makes TestGateWorker work in that directory until it
// is killed.
const gateDir = "WEIR_TEST_GATE_DIR"

// TestGateWorker is a process that passes the gate and then writes, publishes and
// removes as fast as it can; as a test it has nothing to say. It prints why its
// lane is held, or nothing, and stops when its input ends.
func TestGateWorker(t *testing.T) {
	dir := os.Getenv(gateDir)
	if dir == "" {
		return
	}
	s, stop := gated(t, dir)
	fmt.Printf("held:%s\n", whyHeld(t, s))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.guard.Run(ctx, s.hold); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				labour(ctx, t, s)
			}
		})
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	cancel()
	wg.Wait()
	stop()
}

// labour does once what a lane does to its streams.
func labour(ctx context.Context, t *testing.T, s *service) {
	id := uuid.NewString()
	in := consumer.Intent{Lane: "acme", Key: consumer.Key("acme", "/crm", id), Digest: "d", ID: id, Source: "/crm"}
	var rev uint64
	_, err := s.broker.PublishEvent(ctx, "acme", nil, []byte("x"), id)
	for _, step := range []consumer.Step{
		{Kind: consumer.StepClaim, Nonce: "n"},
		{Kind: consumer.StepDoubt, Attempt: 1},
		{Kind: consumer.StepEvidence, Attempt: 1, Conversation: "c"},
		{Kind: consumer.StepEnd, Conversation: "c"},
	} {
		if err != nil {
			break
		}
		in, _ = consumer.Next(in, step, time.Now())
		if rev, err = s.ledger.Store(ctx, in, rev); err == nil && in.State == consumer.Doubt {
			err = s.broker.Keep(ctx, consumer.Letter{Lane: "acme", Intent: in.Key, State: in.State, N: in.N})
		}
	}
	if err == nil {
		err = s.broker.Discard(ctx, "acme", in.Key)
	}
	if err == nil { // all that was published is done, and trimmed
		stream, e := s.broker.JetStream().Stream(ctx, "WEIR_EVENTS")
		if err = e; err == nil {
			err = stream.Purge(ctx)
		}
	}
	if err != nil && ctx.Err() == nil {
		t.Error(err)
	}
}

// worker starts such a process and returns why its lane is held. stop kills it,
// or lets it end in order.
func worker(t *testing.T, dir string) (why string, stop func(kill bool)) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestGateWorker$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), gateDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "held:"); ok {
			return text, func(kill bool) {
				if kill {
					_ = cmd.Process.Kill()
				}
				_ = in.Close()
				for lines.Scan() {
					t.Log(lines.Text())
				}
				if err := cmd.Wait(); err != nil && !kill {
					t.Errorf("the process ended with %v", err)
				}
			}
		}
		t.Log(lines.Text())
	}
	t.Fatal("the process ended before it passed the gate")
	return "", nil
}

// TestH19NoFalseAlarmAfterKills starts weir's state again and again, after kills at
// any moment and after orderly ends, with work between.
func TestH19NoFalseAlarmAfterKills(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	for i := range 20 {
		why, stop := worker(t, dir)
		if why != "" {
			t.Fatalf("start %d: held because of %s", i, why)
		}
		elapse(t, 1500*time.Millisecond)
		stop(i%4 != 3)
	}
	if s, _ := gated(t, dir); whyHeld(t, s) != "" {
		t.Errorf("held because of %s", whyHeld(t, s))
	}
}
