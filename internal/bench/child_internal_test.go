package bench

import (
	"io"
	"testing"
)

// lateClose notes whether it is closed while the process at its other end lives.
type lateClose struct {
	io.Closer
	c     *Child
	early bool
}

func (l *lateClose) Close() error {
	select {
	case <-l.c.done:
	default:
		l.early = true
	}
	return l.Closer.Close()
}

// A process that ends with its standard input, as weir's parts do, is asked to end in
// one way: of two, the signal may come when it has ended its work because of the other
// and waits for signals no more.
func TestStopAsksOnce(t *testing.T) {
	t.Parallel()
	c, _, err := StartPart(t.Context(), "part", t.TempDir(), "/bin/sh", "-c", "trap 'exit 0' TERM; echo well; read end; exit 1")
	if err != nil {
		t.Fatal(err)
	}
	in := &lateClose{Closer: c.in, c: c}
	c.in = in
	if err := c.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if in.early {
		t.Error("the standard input ended before the process")
	}
}
