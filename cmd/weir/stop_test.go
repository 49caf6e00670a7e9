package main

import (
	"context"
	"fmt"
	"net/http"
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
	cmd := child(t, k.env, "serve", "-c", k.patient(t, f))
	k.awaitStreams(t, b)
	k.publish(t, b, 3)
	within(t, patience, "a request", asked)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stand(t, time.Second)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal("weir ended although a request runs")
	}
	sent := time.Now()
	await(t, patience, "weir to stop at once", func() bool {
		if time.Since(sent) > 5*time.Second { // the first had not been seen yet: the two were one
			sent = time.Now()
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		return strings.Contains(cmd.Stdout.(*syncBuffer).String(), "stopped at once")
	})
	if code := ends(t, cmd, patience); code != 130 {
		t.Errorf("exit code: got %d, want 130", code)
	}
	open := make(map[string]bool)
	k.open(t, b, open)
	if len(open) == 0 {
		t.Error("got no open claim, want those of the request")
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
