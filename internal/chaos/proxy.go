package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Mode is what a proxy does to its connections.
type Mode struct {
	Kind  Kind
	Delay time.Duration // KindDelay: of each piece in either direction
	Keep  int           // KindTruncate: bytes of each piece of an answer that arrive
}

// Kind is a way in which a proxy treats what passes.
type Kind string

// The kinds of a Mode. The zero Kind is KindPass.
const (
	KindPass      Kind = ""
	KindRefuse    Kind = "refuse"    // a new connection is reset at once; those that are open live on
	KindDelay     Kind = "delay"     // each piece comes later
	KindSlow      Kind = "slow"      // an answer comes by one byte a second
	KindBlackhole Kind = "blackhole" // nothing passes, nobody is told
	KindHalfOpen  Kind = "half-open" // questions pass, answers do not
	KindTruncate  Kind = "truncate"  // an answer ends early, its connection with it
)

// holdLimit is how long bytes are kept in a blackhole and may still arrive, as
// those that a network sends again. What was held longer is lost, and its
// connection is reset when the hole is closed; so are bytes whose sender has
// gone. So no question arrives when its sender has long given it up: against
// that no client has a defence.
const holdLimit = time.Second

// Proxy passes TCP connections on to one address, and breaks them on demand. Its
// methods may be called concurrently.
type Proxy struct {
	ln     net.Listener
	target string
	limit  time.Duration // holdLimit
	held   atomic.Int32  // pieces in a blackhole

	mu      sync.Mutex
	mode    Mode
	changed chan struct{} // closed when mode is replaced
	pairs   map[*pair]struct{}
}

// pair is one connection and its continuation.
type pair struct {
	client, server net.Conn
	gone           chan struct{} // closed when the pair is
	left           [2]chan struct{}
	once           sync.Once
}

// NewProxy listens on a loopback address, and passes on to target once Run does.
func NewProxy(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", target, err)
	}
	return &Proxy{ln: ln, target: target, limit: holdLimit, changed: make(chan struct{}), pairs: make(map[*pair]struct{})}, nil
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Run serves until ctx ends, and then closes every connection.
func (p *Proxy) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() {
		_ = p.ln.Close()
		p.Cut()
	})
	defer stop()
	for {
		conn, err := p.ln.Accept()
		if err != nil {
			p.Cut()
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("proxy: %w", err)
		}
		wg.Go(func() { p.serve(ctx, conn) })
	}
}

// Set changes what is done to connections, those that are open included.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut closes every connection that is open, as a peer that ends does.
func (p *Proxy) Cut() { p.end(false) }

// Reset breaks every connection that is open, as a peer that crashes does.
func (p *Proxy) Reset() { p.end(true) }

func (p *Proxy) end(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pr := range p.pairs {
		pr.close(reset)
	}
}

// now returns the mode, and what is closed when there is another one.
func (p *Proxy) now() (Mode, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.changed
}

// serve passes one connection on until either side ends.
func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	mode, _ := p.now()
	if mode.Kind == KindRefuse || ctx.Err() != nil {
		abort(client)
		return
	}
	d := net.Dialer{Timeout: 2 * time.Second}
	server, err := d.DialContext(ctx, "tcp", p.target)
	if err != nil {
		abort(client)
		return
	}
	pr := &pair{client: client, server: server, gone: make(chan struct{})}
	pr.left = [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	p.mu.Lock()
	p.pairs[pr] = struct{}{}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(pr, server, client, false) })
	wg.Go(func() { p.pump(pr, client, server, true) })
	wg.Wait()
	p.mu.Lock()
	delete(p.pairs, pr)
	p.mu.Unlock()
}

// piece is what was read at once, and when.
type piece struct {
	data []byte
	at   time.Time
}

// pump passes one direction on; answer is the one back to the client. Its reader
// runs ahead, so that a side that leaves is noticed while bytes are held.
func (p *Proxy) pump(pr *pair, dst, src net.Conn, answer bool) {
	pieces := make(chan piece, 64)
	left := pr.left[side(answer)]
	var wg sync.WaitGroup
	wg.Go(func() { read(pr, src, pieces, left) })
	reset := false
	for pc := range pieces {
		passed, broken := p.pass(pr, dst, pc, answer)
		if !passed {
			reset = broken
			break
		}
	}
	pr.close(reset)
	wg.Wait()
}

func side(answer bool) int {
	if answer {
		return 1
	}
	return 0
}

// read fills pieces until the source ends, and then closes left.
func read(pr *pair, src net.Conn, pieces chan<- piece, left chan<- struct{}) {
	defer close(pieces)
	defer close(left)
	for {
		buf := make([]byte, 16<<10)
		n, err := src.Read(buf)
		if n > 0 {
			select {
			case pieces <- piece{buf[:n], time.Now()}:
			case <-pr.gone:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass does to one piece what the mode says. It reports whether the connection
// goes on, and if not, whether it breaks.
func (p *Proxy) pass(pr *pair, dst net.Conn, pc piece, answer bool) (goesOn, reset bool) {
	left := pr.left[side(answer)]
	for {
		mode, changed := p.now()
		switch {
		case mode.Kind == KindBlackhole, mode.Kind == KindHalfOpen && answer:
			p.held.Add(1)
			over := await(pr.gone, left, changed)
			p.held.Add(-1)
			if !over || time.Since(pc.at) > p.limit {
				return false, true
			}
			continue
		case mode.Kind == KindDelay:
			timer := time.NewTimer(time.Until(pc.at.Add(mode.Delay)))
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-pr.gone:
				return false, true
			}
		case mode.Kind == KindTruncate && answer:
			_, _ = dst.Write(pc.data[:min(mode.Keep, len(pc.data))])
			return false, false
		case mode.Kind == KindSlow && answer && len(pc.data) > 1:
			if _, err := dst.Write(pc.data[:1]); err != nil {
				return false, true
			}
			pc.data = pc.data[1:]
			if !drip(pr.gone, changed) {
				return false, true
			}
			continue
		}
		_, err := dst.Write(pc.data)
		return err == nil, true
	}
}

// await waits for another mode, and reports whether it came before an end.
func await(gone, left, changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	case <-gone:
	case <-left:
	}
	return false
}

// drip waits a second, or less where the mode changes.
func drip(gone, changed <-chan struct{}) bool {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-gone:
		return false
	}
	return true
}

// close ends both connections.
func (pr *pair) close(reset bool) {
	pr.once.Do(func() {
		close(pr.gone)
		for _, c := range []net.Conn{pr.client, pr.server} {
			if reset {
				abort(c)
			} else {
				_ = c.Close()
			}
		}
	})
}

// abort closes a connection with a reset.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
