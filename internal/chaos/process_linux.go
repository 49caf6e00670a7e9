package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command is a process to start.
type Command struct {
	Name string // in the history
	Path string
	Args []string
	Env  []string // beside this process's own
	Log  string   // path of the file that its output is appended to
}

// Process is a process that runs, or ran. Its methods may be called
// concurrently.
type Process struct {
	Name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of its end, after done
}

// Start starts a process, which is killed when this one dies.
func Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C at a terminal reaches the driver alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{Name: c.Name, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID returns its number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends it with SIGKILL, and waits until it is gone.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Stop freezes it with SIGSTOP, until Continue.
func (p *Process) Stop() { p.signal(syscall.SIGSTOP) }

// Continue lets a stopped process go on.
func (p *Process) Continue() { p.signal(syscall.SIGCONT) }

// Terminate asks it to end with SIGTERM.
func (p *Process) Terminate() { p.signal(syscall.SIGTERM) }

func (p *Process) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it may have ended
}

// Await waits until the process has ended, for at most limit, and reports
// whether it did.
func (p *Process) Await(ctx context.Context, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// End returns how the process ended, in words, empty while it runs; clean
// reports that it was by its own will and without an error.
func (p *Process) End() (text string, clean bool) {
	select {
	case <-p.done:
	default:
		return "", false
	}
	if p.err == nil {
		return "exit status 0", true
	}
	return p.err.Error(), false
}

// crashes are what only a defect prints.
var crashes = []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"}

// Crashes returns the lines of a log, from an offset on, that say that a process
// fell over its own defect, and the offset behind what was read.
func Crashes(log string, offset int64) (lines []string, next int64, err error) {
	data, err := os.ReadFile(log)
	if errors.Is(err, os.ErrNotExist) {
		return nil, offset, nil
	}
	if err != nil {
		return nil, offset, fmt.Errorf("look for crashes: %w", err)
	}
	for line := range strings.Lines(string(data[min(offset, int64(len(data))):])) {
		for _, mark := range crashes {
			if strings.HasPrefix(line, mark) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines, int64(len(data)), nil
}
