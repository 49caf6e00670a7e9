package bench

import (
	"io"
	"strings"
	"testing"
	"time"
)

// slowClose is a pipe whose Close returns when the process at its other end has ended
// or says that it does not wait for signals any more.
type slowClose struct {
	io.Closer
	c *Child
}

func (s slowClose) Close() error {
	err := s.Closer.Close()
	for {
		select {
		case <-s.c.done:
			return err
		case <-time.After(10 * time.Millisecond):
		}
		if strings.Contains(s.c.said(), "deaf") {
			return err
		}
	}
}

// A process that ends with its standard input, as weir's parts do, is signalled while
// it still waits for that.
func TestStopSignalsBeforeTheInputEnds(t *testing.T) {
	t.Parallel()
	c, _, err := StartPart(t.Context(), "part", t.TempDir(), "/bin/sh", "-c", "trap 'exit 0' TERM; echo well; read end; trap - TERM; echo deaf >&2; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	c.in = slowClose{c.in, c}
	if err := c.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
