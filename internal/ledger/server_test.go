package ledger_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/ledger"
)

// start runs a broker on dir until stop is called, or the test ends.
func start(t testing.TB, dir, domain string) (url string, stop func()) {
	t.Helper()
	s, stop := startServer(t, dir, domain)
	return s.ClientURL(), stop
}

func startServer(t testing.TB, dir, domain string) (s *server.Server, stop func()) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir, JetStreamDomain: domain,
		JetStreamMaxStore: 4 << 30, JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		t.Fatalf("broker: %v", err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("broker is not ready")
	}
	stop = sync.OnceFunc(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	t.Cleanup(stop)
	return s, stop
}

func connect(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	return connectDomain(t, url, "")
}

func connectDomain(t testing.TB, url, domain string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(time.Minute), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	var js jetstream.JetStream
	if domain == "" {
		js, err = jetstream.New(nc)
	} else {
		js, err = jetstream.NewWithDomain(nc, domain)
	}
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	return js
}

func open(t testing.TB, js jetstream.JetStream, cfg ledger.Config) *ledger.Ledger {
	t.Helper()
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	l, err := ledger.Open(t.Context(), js, cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

// fresh opens a ledger on a broker of its own.
func fresh(t testing.TB) (*ledger.Ledger, jetstream.JetStream) {
	t.Helper()
	url, _ := start(t, t.TempDir(), "")
	js := connect(t, url)
	return open(t, js, ledger.Config{}), js
}

// proxy stands between a client and the broker and can lose or hold what one of
// them says.
type proxy struct {
	addr string // of the listener

	mu     sync.Mutex
	cond   *sync.Cond
	target string
	mode   mode
	lost   int // bytes swallowed or held since the mode was set
	conns  []net.Conn
	held   map[net.Conn][]byte
}

type mode int

const (
	pass          mode = iota
	loseRequests       // what the client says disappears
	loseAnswers        // what the broker says disappears
	delayRequests      // what the client says arrives later
)

func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &proxy{addr: ln.Addr().String(), target: url[len("nats://"):], held: map[net.Conn][]byte{}}
	p.cond = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.heal()
		wg.Wait()
	})
	return p
}

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	broker, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = broker.Close() }()
	p.mu.Lock()
	p.conns = append(p.conns, client, broker)
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(broker, client, loseRequests) })
	p.copy(client, broker, loseAnswers)
	wg.Wait()
}

func (p *proxy) copy(to, from net.Conn, losing mode) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if err := p.pass(to, buf[:n], losing); err != nil {
			return
		}
	}
}

func (p *proxy) pass(to net.Conn, b []byte, losing mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode != pass {
		p.lost += len(b)
		p.cond.Broadcast()
	}
	switch {
	case p.mode == losing:
		return nil
	case p.mode == delayRequests && losing == loseRequests:
		p.held[to] = append(p.held[to], b...)
		return nil
	default:
		_, err := to.Write(b)
		return err
	}
}

// set changes the mode; what was held goes on its way first.
func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for to, b := range p.held {
		_, _ = to.Write(b)
	}
	clear(p.held)
	p.mode, p.lost = m, 0
}

// heal passes everything on again. What was lost cut the connections' streams
// of bytes, so they are closed.
func (p *proxy) heal() {
	p.set(pass)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// await waits until n bytes were lost or held.
func (p *proxy) await(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.lost < n {
		p.cond.Wait()
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !yes(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
