package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

func TestGateHasOneWinner(t *testing.T) {
	t.Parallel()
	passed, stopped := 0, 0
	for range 2000 {
		g := &gate{permit: func() error { return nil }}
		var wg sync.WaitGroup
		var write error
		var unsent bool
		wg.Go(func() { write = g.pass() })
		wg.Go(func() { unsent = g.shut() })
		wg.Wait()
		if (write == nil) == unsent {
			t.Fatalf("got write error %v and unsent %v, want exactly one", write, unsent)
		}
		if unsent != g.shut() {
			t.Fatal("the gate changed its word")
		}
		if unsent {
			stopped++
		} else {
			passed++
		}
	}
	t.Logf("%d passed, %d stopped", passed, stopped)
}

func TestGateAsksOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	g := &gate{permit: func() error { asked++; return nil }}
	for range 3 {
		if err := g.pass(); err != nil {
			t.Fatalf("pass: %v", err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want 1", asked)
	}
	no := errors.New("no")
	denied := &gate{permit: func() error { asked++; return no }}
	for range 3 {
		if err := denied.pass(); !errors.Is(err, no) {
			t.Errorf("pass: got %v, want %v", err, no)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times in all, want 2", asked)
	}
	if !denied.shut() || !errors.Is(denied.refusal(), no) || g.refusal() != nil {
		t.Errorf("got refusals %v and %v", denied.refusal(), g.refusal())
	}
}

func TestGateConnWithoutARequestWritesNothing(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	conn := &gateConn{Conn: near}
	if n, err := conn.Write([]byte("x")); n != 0 || !errors.Is(err, errShut) {
		t.Errorf("Write: got %d, %v, want 0, %v", n, err, errShut)
	}
	conn.Close()
	if b, err := io.ReadAll(far); len(b) != 0 || err != nil {
		t.Errorf("got %q, %v at the other end, want nothing", b, err)
	}
}
