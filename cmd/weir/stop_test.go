package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ends waits for a process that was asked to end, and returns its exit code.
func ends(t *testing.T, cmd *exec.Cmd, limit time.Duration) int {
	t.Helper()
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	within(t, limit, "the process to end", done)
	return cmd.ProcessState.ExitCode()
}

// slow is a front whose first answer comes when the test says so.
func slow(t *testing.T, k *killed) (f *front, asked <-chan struct{}, answer func()) {
	t.Helper()
	asked, ask := first()
	gate, answer := first()
	f = newFront(t, k.sim, func(_ http.ResponseWriter, p post) bool {
		if p.n == 1 {
			ask()
			<-gate
		}
		return false
	})
	t.Cleanup(answer) // before the server is closed, which waits for it
	return f, asked, answer
}

// TestFault52ASecondSIGTERM asks weir twice to stop while a request runs: it ends at
// once and says what it leaves, and the next one finds a doubt there.
func TestFault52ASecondSIGTERM(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	f, asked, answer := slow(t, k)
	path := k.patient(t, f)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(text, "admin: {listen: %q}\n", gatewayPort(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, k.env, "serve", "-c", path)
	k.awaitStreams(t, b)
	k.publish(t, b, 1) // another one could be answered while weir counts
	within(t, patience, "a request", asked)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the first to be heard", func() bool { // or the two may be one
		_, _, err := weir(t.Context(), k.env, "health", "-c", path, "--timeout", "1m")
		return err != nil && strings.Contains(err.Error(), "weir serve is stopping")
	})
	k.publish(t, b, 2) // too late for this one
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal("weir ended although a request runs")
	}
	if code := ends(t, cmd, patience); code != 130 {
		t.Errorf("exit code: got %d, want 130", code)
	}
	open := make(map[string]bool)
	k.open(t, b, open)
	if len(open) != 1 || !open[k.keys[0]] {
		t.Errorf("got open claims %v, want that of the request", open)
	}
	contains(t, cmd.Stdout.(*syncBuffer).String(), "stopped at once", fmt.Sprintf(`"claimed":%d`, len(open)))
	answer()
	child(t, k.env, "serve", "-c", k.yaml)
	k.settle(t, b)
	k.check(t, b, open)
}

// TestFault52SIGTERMWithoutABroker asks weir to stop while a request runs and its
// broker hears nothing: it ends all the same, in less time than a supervisor has
// patience.
func TestFault52SIGTERMWithoutABroker(t *testing.T) {
	t.Parallel()
	m, k := newMortal(t)
	f, asked, answer := slow(t, k)
	cmd := child(t, k.env, "serve", "-c", k.patient(t, f))
	b := k.connect(t, m.dir)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	k.awaitStreams(t, b)
	k.publish(t, b, 12)
	within(t, patience, "a request", asked)
	if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answer()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ends(t, cmd, time.Minute)
	t.Logf("ended %v after SIGTERM", time.Since(began).Round(time.Second))
	if err := m.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	open := make(map[string]bool)
	k.open(t, b, open)
	child(t, k.env, "serve", "-c", k.yaml)
	k.settle(t, b)
	k.check(t, b, open)
}

// TestServeWaitsForItsBroker starts weir before its broker: it says what it waits
// for, ends when it is asked to, and else works once the broker is there.
func TestServeWaitsForItsBroker(t *testing.T) {
	t.Parallel()
	m, k := newMortal(t)
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	waits := func() *exec.Cmd {
		cmd := child(t, k.env, "serve", "-c", k.yaml)
		await(t, patience, "weir to say what it waits for", func() bool {
			return strings.Count(cmd.Stdout.(*syncBuffer).String(), "the broker cannot be reached") > 1
		})
		return cmd
	}
	cmd := waits()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, cmd, patience); code != 130 {
		t.Errorf("exit code of one that was stopped before it worked: got %d, want 130", code)
	}
	waits()
	m.again(t)
	b := k.connect(t, m.dir)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	k.awaitStreams(t, b)
	k.publish(t, b, 5)
	k.settle(t, b)
	k.check(t, b, nil)
}
