package providertest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long the suite waits for what comes at once in a client that
// keeps the contract.
const patience = 30 * time.Second

// tries bounds how often the suite tries to have a connection used again: the
// transport keeps none for which it had no time, on a busy machine.
const tries = 20

// server is a provider at the level of connections.
type server struct {
	h     Harness
	url   string
	roots *x509.CertPool
	ln    net.Listener
	ended chan struct{} // a value for each connection that was handled to its end
	wg    sync.WaitGroup

	mu       sync.Mutex // guards what follows: written by connections, read by tests
	open     map[net.Conn]bool
	conns    int
	bytes    int // read, above TLS
	wrote    int // written, above TLS
	requests []request
	asked    map[string]map[string]any // requests by intent
}

// request is one that was read to its end.
type request struct {
	conn   int // counted from 1
	line   string
	uri    string
	header http.Header
	body   []byte
}

// peer is a connection to the server.
type peer struct {
	net.Conn
	s    *server
	n    int
	r    *bufio.Reader
	last request // the one that next read
}

// serve runs a server that calls handle for each connection. With secure it
// speaks TLS beneath.
func (h Harness) serve(t *testing.T, secure *tls.Config, handle func(p *peer)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	s := &server{
		h: h, url: "http://" + ln.Addr().String() + "/api", ln: ln, ended: make(chan struct{}, 1000),
		open: make(map[net.Conn]bool), asked: make(map[string]map[string]any),
	}
	if secure != nil {
		s.url = "https://" + ln.Addr().String() + "/api"
		s.roots = x509.NewCertPool()
		s.roots.AddCert(secure.Certificates[0].Leaf)
		s.ln = tls.NewListener(ln, secure)
	}
	s.wg.Go(func() { s.accept(handle) })
	t.Cleanup(s.stop)
	return s
}

// accept takes connections until the listener is closed.
func (s *server) accept(handle func(p *peer)) {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns++
		s.open[conn] = true
		p := &peer{Conn: conn, s: s, n: s.conns}
		s.mu.Unlock()
		p.r = bufio.NewReader(p)
		s.wg.Go(func() {
			defer s.end(conn)
			handle(p)
		})
	}
}

// end closes a connection that was handled.
func (s *server) end(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	delete(s.open, conn)
	s.mu.Unlock()
	select {
	case s.ended <- struct{}{}:
	default:
	}
}

// stop takes no more connections, and gives the open ones a moment in which what
// was sent on them is still read.
func (s *server) stop() {
	s.ln.Close()
	s.mu.Lock()
	for conn := range s.open {
		_ = conn.SetDeadline(time.Now().Add(time.Second))
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Read counts bytes above TLS.
func (p *peer) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.s.mu.Lock()
	p.s.bytes += n
	p.s.mu.Unlock()
	return n, err
}

// Write counts bytes above TLS.
func (p *peer) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	p.s.mu.Lock()
	p.s.wrote += n
	p.s.mu.Unlock()
	return n, err
}

// next reads one request to its end; false at the end of the connection.
func (p *peer) next() bool {
	req, err := http.ReadRequest(p.r)
	if err != nil {
		return false
	}
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return false
	}
	p.last = request{
		conn: p.n, line: req.Method + " " + req.RequestURI + " " + req.Proto,
		uri: req.RequestURI, header: req.Header, body: b,
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.requests = append(p.s.requests, p.last)
	return true
}

// made is what the provider makes of the last request.
func (p *peer) made() []Made {
	var made []Made
	for _, sent := range p.s.h.Sent(p.last.body) {
		m := Made{ID: p.s.h.id(sent.Intent), Intent: sent.Intent, Attempt: sent.Attempt}
		p.s.mu.Lock()
		m.Request = p.s.asked[sent.Intent]
		p.s.mu.Unlock()
		made = append(made, m)
	}
	return made
}

// created is the body that names all that was made of the last request.
func (p *peer) created() string { return p.s.h.Created(p.made()) }

// id is the provider's id of what was made for an intent.
func (h Harness) id(intent string) string {
	if h.TakesID {
		return intent
	}
	return "made-" + intent
}

// write sends raw bytes.
func (p *peer) write(raw string) bool {
	_, err := io.WriteString(p, raw)
	return err == nil
}

// answer writes a whole answer, with a limit header and a cookie. Extra are
// header lines.
func (p *peer) answer(status int, body string, extra ...string) bool {
	return p.write(whole(status, body, extra...))
}

// whole is an answer in raw bytes.
func whole(status int, body string, extra ...string) string {
	return head(status, append(extra, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
}

// head is the status line and the header of an answer with a JSON body.
func head(status int, extra ...string) string {
	lines := append([]string{
		fmt.Sprintf("HTTP/1.1 %d %s", status, http.StatusText(status)),
		"Content-Type: application/json", "X-Ratelimit-Remaining: 3", "Set-Cookie: session=1",
	}, extra...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// reset ends the connection with a TCP reset.
func (p *peer) reset() {
	if tcp, ok := p.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	p.Close()
}

// drip writes a text again and again until the connection ends.
func (p *peer) drip(text string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if !p.write(text) {
			return
		}
	}
}

// counts returns how many connections, bytes and requests came so far.
func (s *server) counts() (conns, bytes, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns, s.bytes, len(s.requests)
}

// written returns how many bytes were written so far.
func (s *server) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrote
}

// all returns the requests so far.
func (s *server) all() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// latest returns the last request.
func (s *server) latest(t *testing.T) request {
	t.Helper()
	all := s.all()
	if len(all) == 0 {
		t.Fatal("no request came")
	}
	return all[len(all)-1]
}

// wait waits for the end of n connections.
func (s *server) wait(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-s.ended:
		case <-time.After(patience):
			t.Fatal("a connection was not ended")
		}
	}
}

// certificate returns a server's TLS configuration for 127.0.0.1. It offers
// HTTP/2 to whoever wants it.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	cert := srv.TLS.Certificates[0]
	cert.Leaf = srv.Certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
}

// eachTransport runs a test over plain TCP and over TLS.
func eachTransport(t *testing.T, test func(t *testing.T, secure *tls.Config)) {
	t.Run("tcp", func(t *testing.T) { t.Parallel(); test(t, nil) })
	t.Run("tls", func(t *testing.T) { t.Parallel(); test(t, certificate(t)) })
}
