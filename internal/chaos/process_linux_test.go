package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/chaos"
)

// asChild in the environment makes the test binary a process to control.
const asChild = "WEIR_CHAOS_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "quit":
		fmt.Println("panic: at the end")
		os.Exit(3)
	case "count":
		for i := 0; ; i++ {
			fmt.Println(i)
			pause(5 * time.Millisecond)
		}
	}
	os.Exit(m.Run())
}

func start(t *testing.T, role string) (p *chaos.Process, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	p, err := chaos.Start(chaos.Command{Name: role, Path: os.Args[0], Env: []string{asChild + "=" + role}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, log
}

// length is how much a process has written.
func length(t *testing.T, log string) int64 {
	t.Helper()
	info, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// grows waits until a process has written more.
func grows(t *testing.T, log string) {
	t.Helper()
	before := length(t, log)
	for end := time.Now().Add(patience); length(t, log) == before; {
		if time.Now().After(end) {
			t.Fatal("the process does nothing")
		}
		pause(10 * time.Millisecond)
	}
}

// rests waits until a process writes no more: the signal that stops it may take a
// moment.
func rests(t *testing.T, log string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		before := length(t, log)
		pause(100 * time.Millisecond)
		if length(t, log) == before {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a stopped process goes on writing")
		}
	}
}

// pause waits for another process, which no bubble can hold.
func pause(d time.Duration) { <-time.NewTimer(d).C }

func TestProcessStopsAndGoesOn(t *testing.T) {
	t.Parallel()
	p, log := start(t, "count")
	grows(t, log)
	p.Stop()
	rests(t, log)
	p.Continue()
	grows(t, log)
	if text, _ := p.End(); text != "" || p.Await(t.Context(), time.Millisecond) {
		t.Errorf("it ended: %q", text)
	}
	p.Terminate()
	if !p.Await(t.Context(), patience) {
		t.Fatal("it did not end")
	}
	if text, clean := p.End(); text != "signal: terminated" || clean {
		t.Errorf("got %q, %v", text, clean)
	}
}

func TestProcessKilledWhileStopped(t *testing.T) {
	t.Parallel()
	p, log := start(t, "count")
	grows(t, log)
	p.Stop()
	p.Kill()
	p.Kill()
	if text, clean := p.End(); text != "signal: killed" || clean {
		t.Errorf("got %q, %v", text, clean)
	}
}

func TestCrashes(t *testing.T) {
	t.Parallel()
	p, log := start(t, "quit")
	if !p.Await(t.Context(), patience) {
		t.Fatal("it did not end")
	}
	if text, clean := p.End(); text != "exit status 3" || clean {
		t.Errorf("got %q, %v", text, clean)
	}
	lines, next, err := chaos.Crashes(log, 0)
	if diff := cmp.Diff([]string{"panic: at the end"}, lines); diff != "" || err != nil {
		t.Errorf("crashes (-want +got):\n%s %v", diff, err)
	}
	if lines, _, _ := chaos.Crashes(log, next); lines != nil {
		t.Errorf("seen again: %v", lines)
	}
	if lines, _, err := chaos.Crashes(log+"-none", 0); lines != nil || err != nil {
		t.Errorf("got %v, %v of no log", lines, err)
	}
}

func TestStartOfNothing(t *testing.T) {
	t.Parallel()
	_, err := chaos.Start(chaos.Command{Name: "nothing", Path: filepath.Join(t.TempDir(), "none"), Log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "start nothing") {
		t.Errorf("got %v", err)
	}
}
