package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Child is a process of the run. Where the system can do it, it dies with this one.
type Child struct {
	Name string
	cmd  *exec.Cmd
	in   io.Closer
	log  string // path of what it said on standard error
	done chan struct{}
	err  error // of its end, after done
}

// stopFor is how long a process may take to end before it is killed.
const stopFor = 20 * time.Second

// StartChild starts a program. What it says on standard error is written to the file
// log. Its standard input ends with this process, so that it can notice.
func StartChild(name, log, path string, args ...string) (*Child, error) {
	c, _, err := start(name, log, false, path, args)
	return c, err
}

// StartPart is StartChild for one that says on standard output, in one line, where
// it can be reached, as soon as it can.
func StartPart(ctx context.Context, name, log, path string, args ...string) (*Child, string, error) {
	c, out, err := start(name, log, true, path, args)
	if err != nil {
		return nil, "", err
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- strings.TrimSpace(text)
		_ = out.Close()
	}()
	select {
	case address := <-line:
		if address != "" {
			return c, address, nil
		}
		c.Stop()
		return nil, "", fmt.Errorf("%s did not start: %s", name, c.said())
	case <-ctx.Done():
		c.Stop()
		return nil, "", context.Cause(ctx)
	}
}

func start(name, log string, piped bool, path string, args []string) (c *Child, out io.ReadCloser, err error) {
	f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // the process has its own
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = f, f, childAttributes()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	if piped {
		cmd.Stdout = nil
		if out, err = pipeOf(cmd); err != nil {
			return nil, nil, fmt.Errorf("start %s: %w", name, err)
		}
	}
	c = &Child{Name: name, cmd: cmd, in: in, log: log, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The child's end is bound to that of the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	if w, ok := cmd.Stdout.(*os.File); piped && ok {
		_ = w.Close() // the process has its own
	}
	return c, out, nil
}

// pipeOf is a pipe of the process's standard output that Wait does not close.
func pipeOf(cmd *exec.Cmd) (io.ReadCloser, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	return r, nil
}

// PID is its number.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Stop asks the process to end, kills it if it does not, and returns when it is
// gone. The error says that it did not end well.
func (c *Child) Stop() error {
	if err := c.Ended(); err != nil {
		return err
	}
	_ = c.in.Close()
	if c.cmd.Process.Signal(syscall.SIGTERM) != nil { // it has ended, or the system knows no signals
		_ = c.cmd.Process.Kill()
	}
	timer := time.AfterFunc(stopFor, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	<-c.done
	if runtime.GOOS == "windows" || c.err == nil {
		return nil
	}
	if e, ok := errors.AsType[*exec.ExitError](c.err); ok && e.ExitCode() == 130 {
		return nil // it was interrupted, as asked
	}
	return fmt.Errorf("%s: %w: %s", c.Name, c.err, c.said())
}

// Ended is the reason why the process is not there any more; nil while it runs.
func (c *Child) Ended() error {
	select {
	case <-c.done:
		return fmt.Errorf("%s has ended by itself: %v: %s", c.Name, c.err, c.said())
	default:
		return nil
	}
}

// said is the end of what the process said.
func (c *Child) said() string {
	data, _ := os.ReadFile(c.log)
	const most = 2000
	return strings.TrimSpace(string(data[max(0, len(data)-most):]))
}

// Usage is what a process has used so far. Known is false where the system does not
// tell.
type Usage struct {
	Known bool
	CPU   time.Duration
	Peak  int64 // bytes of memory that it had at most
}

// Usage is what the process has used.
func (c *Child) Usage() Usage { return usageOf(c.PID()) }

// OwnUsage is what this process has used.
func OwnUsage() Usage { return usageOf(os.Getpid()) }

// Await waits until the process has ended, and returns why it did; nil if ctx ended
// before.
func (c *Child) Await(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.done:
		return c.Ended()
	}
}
