package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// asWeir in the environment makes the test binary be weir itself, so that tests
// can run it as a process and kill it.
const asWeir = "WEIR_TEST_AS_WEIR"

func TestMain(m *testing.M) {
	if os.Getenv(asWeir) != "" {
		main()
	}
	os.Exit(m.Run())
}

// child starts weir as a process of its own. It dies with the test.
func child(t *testing.T, env map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	return childIn(t, "", env, args...)
}

// childIn is child in a folder of its own.
func childIn(t *testing.T, dir string, env map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asWeir+"=1")
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	born(t, cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("weir %s:\n%s", strings.Join(args, " "), tail(out.String(), 8000))
		}
	})
	return cmd
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// syncBuffer is a bytes.Buffer that a process may fill while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// weir runs a command line in this process and returns what it printed.
func weir(ctx context.Context, env map[string]string, args ...string) (stdout, stderr string, err error) {
	var out, errs syncBuffer
	err = run(ctx, args, strings.NewReader(""), &out, &errs, func(name string) string { return env[name] })
	return out.String(), errs.String(), err
}
