package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Child is a process of the run. Where the system can do it, it dies with this one.
type Child struct {
	Name    string
	cmd     *exec.Cmd
	in      io.Closer
	log     string        // path of what it said on standard error
	out     string        // and on standard output
	stopped atomic.Bool   // it was asked to end
	done    chan struct{} // closed when it has ended
	err     error         // of its end, after done
}

// stopFor is how long a process may take to end before it is killed.
const stopFor = 20 * time.Second

// StartChild starts a program. What it says is kept in files of a folder. Its
// standard input ends with this process, so that it can notice.
func StartChild(name, dir, path string, args ...string) (*Child, error) {
	out, err := create(filepath.Join(dir, name+".out"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return start(name, dir, out, path, args)
}

// StartPart is StartChild for one that says on standard output, in one line, where
// it can be reached, as soon as it can.
func StartPart(ctx context.Context, name, dir, path string, args ...string) (*Child, string, error) {
	out, w, err := os.Pipe()
	if err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	c, err := start(name, dir, w, path, args)
	if err != nil {
		return nil, "", errors.Join(err, out.Close())
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
		err = fmt.Errorf("%s did not start: %s", name, c.said())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = c.Stop() // why it did not start says more
	return nil, "", err
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_TRUNC|os.O_CREATE|os.O_WRONLY, 0o600)
}

// start starts a program with a file, which it closes here, as its standard output.
func start(name, dir string, out *os.File, path string, args []string) (*Child, error) {
	defer func() { _ = out.Close() }() // the process has its own
	c := &Child{Name: name, log: filepath.Join(dir, name+".log"), out: out.Name(), done: make(chan struct{})}
	log, err := create(c.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()
	c.cmd = exec.Command(path, args...)
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.SysProcAttr = out, log, childAttributes()
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	started := make(chan error, 1)
	go func() {
		// The child's end is bound to that of the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// PID is its number.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Stop asks the process to end, kills it if it does not, and returns when it is
// gone. The error says that it did not end well.
func (c *Child) Stop() error {
	if c.stopped.Swap(true) {
		<-c.done
		return nil // the first one has told
	}
	if c.cmd.Process.Signal(syscall.SIGTERM) != nil { // it has ended, or the system knows no signals
		_ = c.cmd.Process.Kill()
	}
	timer := time.AfterFunc(stopFor, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	<-c.done
	_ = c.in.Close() // earlier, it would be asked in two ways to end, and the signal may come to one that has
	if c.err == nil || runtime.GOOS == "windows" {
		return nil
	}
	return fmt.Errorf("%s did not end well: %w: %s", c.Name, c.err, c.said())
}

// Await waits until the process has ended, and returns why if nobody has stopped it.
func (c *Child) Await() error {
	<-c.done
	if c.stopped.Load() {
		return nil
	}
	return fmt.Errorf("%s has ended by itself (%v): %s", c.Name, c.err, c.said())
}

// Output is what a process that has ended said on standard output.
func (c *Child) Output() ([]byte, error) { return os.ReadFile(c.out) }

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
