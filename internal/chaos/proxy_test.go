package chaos_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/chaos"
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// newProxy starts a proxy in front of a server that answers each line with the
// same line in capitals. What the proxy holds is never too old.
func newProxy(t *testing.T) (p *chaos.Proxy, lines <-chan string) {
	t.Helper()
	return newProxyThatHolds(t, time.Hour)
}

// newProxyThatHolds is newProxy with another time after which bytes are lost.
func newProxyThatHolds(t *testing.T, limit time.Duration) (p *chaos.Proxy, lines <-chan string) {
	t.Helper()
	ln := listen(t)
	seen := make(chan string, 100)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s := bufio.NewScanner(c)
				for s.Scan() {
					seen <- s.Text()
					if _, err := io.WriteString(c, strings.ToUpper(s.Text())+"\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return proxyTo(t, ln.Addr().String(), limit), seen
}

// proxyTo starts a proxy in front of an address.
func proxyTo(t *testing.T, target string, limit time.Duration) *chaos.Proxy {
	t.Helper()
	p, err := chaos.NewProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	p.HoldFor(limit)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// client is a connection through the proxy.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, p *chaos.Proxy) *client {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) ask(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads a line for at most d.
func (c *client) answer(d time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return "", err
	}
	line, err := c.in.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// says fails unless the next answer is want.
func (c *client) says(want string) {
	c.t.Helper()
	if got, err := c.answer(patience); got != want || err != nil {
		c.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// silent fails unless nothing comes for a while.
func (c *client) silent() {
	c.t.Helper()
	got, err := c.answer(200 * time.Millisecond)
	if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
		c.t.Fatalf("got %q, %v, want silence", got, err)
	}
}

// broken fails unless the connection is reset.
func (c *client) broken() {
	c.t.Helper()
	if got, err := c.answer(patience); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("got %q, %v, want a reset", got, err)
	}
}

// holds waits until a proxy holds so many pieces.
func holds(t *testing.T, p *chaos.Proxy, n int) {
	t.Helper()
	for end := time.Now().Add(patience); p.Held() != n; pause(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %d pieces held, want %d", p.Held(), n)
		}
	}
}

// refused fails unless a new connection is reset.
func refused(t *testing.T, p *chaos.Proxy) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", p.Addr())
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

func TestProxyPasses(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	c := dial(t, p)
	for range 3 {
		c.ask("hello")
		c.says("HELLO")
	}
}

func TestProxyCutsAndResets(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	c := dial(t, p)
	c.ask("a")
	c.says("A")
	p.Cut()
	if got, err := c.answer(patience); !errors.Is(err, io.EOF) {
		t.Errorf("after a cut: got %q, %v, want the end", got, err)
	}
	c = dial(t, p)
	c.ask("a")
	c.says("A")
	p.Reset()
	c.broken()
}

func TestProxyRefusesNewConnectionsAlone(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	old := dial(t, p)
	old.ask("a")
	old.says("A")
	p.Set(chaos.Mode{Kind: chaos.KindRefuse})
	refused(t, p)
	old.ask("b")
	old.says("B")
}

func TestProxyHalfOpen(t *testing.T) {
	t.Parallel()
	p, lines := newProxy(t)
	c := dial(t, p)
	p.Set(chaos.Mode{Kind: chaos.KindHalfOpen})
	c.ask("a")
	if got := <-lines; got != "a" {
		t.Errorf("the server read %q, want the question", got)
	}
	c.silent()
	holds(t, p, 1)
	p.Set(chaos.Mode{})
	c.says("A") // not held long enough to be lost
}

func TestProxyBlackhole(t *testing.T) {
	t.Parallel()
	p, lines := newProxyThatHolds(t, 0)
	c := dial(t, p)
	c.ask("a")
	c.says("A")
	<-lines
	p.Set(chaos.Mode{Kind: chaos.KindBlackhole})
	c.ask("b")
	c.silent()
	late := dial(t, p)
	late.ask("held too long")
	holds(t, p, 2)
	late.silent()
	p.Set(chaos.Mode{})
	late.broken()
	c.broken()
	fresh := dial(t, p)
	fresh.ask("c")
	fresh.says("C")
	if got := <-lines; got != "c" {
		t.Errorf("the server read %q out of the hole", got)
	}
}

func TestProxyBlackholeDropsWhatItsSenderLeft(t *testing.T) {
	t.Parallel()
	p, lines := newProxy(t)
	p.Set(chaos.Mode{Kind: chaos.KindBlackhole})
	gone := dial(t, p)
	gone.ask("left behind")
	holds(t, p, 1)
	_ = gone.Close()
	holds(t, p, 0)
	stays := dial(t, p)
	stays.ask("a")
	stays.silent()
	holds(t, p, 1)
	p.Set(chaos.Mode{})
	stays.says("A")
	stays.silent() // time for what was left behind to arrive
	if first, more := <-lines, len(lines); first != "a" || more > 0 {
		t.Errorf("the server read %q and %d more, want the question of the one that stayed", first, more)
	}
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	c := dial(t, p)
	p.Set(chaos.Mode{Kind: chaos.KindDelay, Delay: 150 * time.Millisecond})
	began := time.Now()
	c.ask("a")
	c.says("A")
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("took %v, want the delay in either direction", took)
	}
}

func TestProxySlowsAnswers(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	c := dial(t, p)
	p.Set(chaos.Mode{Kind: chaos.KindSlow})
	began := time.Now()
	c.ask("abc")
	if err := c.SetReadDeadline(began.Add(patience)); err != nil {
		t.Fatal(err)
	}
	two := make([]byte, 2)
	if _, err := io.ReadFull(c.in, two); string(two) != "AB" || err != nil || time.Since(began) < time.Second {
		t.Errorf("got %q, %v after %v, want the second byte after a second", two, err, time.Since(began))
	}
	p.Set(chaos.Mode{})
	c.says("C")
}

func TestProxyTruncates(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	c := dial(t, p)
	p.Set(chaos.Mode{Kind: chaos.KindTruncate, Keep: 2})
	c.ask("abc")
	if got, err := c.answer(patience); got != "AB" || !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v, want two bytes and the end", got, err)
	}
}

func TestProxyWithoutATarget(t *testing.T) {
	t.Parallel()
	refused(t, proxyTo(t, "127.0.0.1:1", time.Hour)) // which nobody gets who asks for any port
}
