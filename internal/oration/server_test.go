package oration_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// server is a provider at the level of connections: it counts what reaches it
// and answers with raw bytes.
type server struct {
	url   string
	roots *x509.CertPool
	ended chan struct{} // a value for each connection that was handled to its end

	mu       sync.Mutex
	conns    int
	bytes    int
	requests []request
}

// request is one that was read to its end.
type request struct {
	conn   int // counted from 1
	line   string
	header http.Header
	body   string
}

// peer is a connection to the server.
type peer struct {
	net.Conn
	s *server
	n int
	r *bufio.Reader
}

// serve runs a server that calls handle for each connection. With secure it
// speaks TLS beneath.
func serve(t *testing.T, secure *tls.Config, handle func(p *peer)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	s := &server{url: "http://" + ln.Addr().String() + "/api/v2", ended: make(chan struct{}, 100)}
	if secure != nil {
		s.url = "https://" + ln.Addr().String() + "/api/v2"
		s.roots = x509.NewCertPool()
		s.roots.AddCert(secure.Certificates[0].Leaf)
		ln = tls.NewListener(ln, secure)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			p := &peer{Conn: conn, s: s, n: s.conns}
			s.mu.Unlock()
			p.r = bufio.NewReader(p)
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() {
				defer func() { s.ended <- struct{}{} }()
				defer conn.Close()
				handle(p)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return s
}

// Read counts bytes above TLS.
func (p *peer) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.s.mu.Lock()
	p.s.bytes += n
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
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.requests = append(p.s.requests, request{
		conn: p.n, line: req.Method + " " + req.RequestURI + " " + req.Proto, header: req.Header, body: string(b),
	})
	return true
}

// answer writes a whole answer with a JSON body.
func (p *peer) answer(status int, body string) {
	fmt.Fprintf(p, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}

// reset ends the connection with a TCP reset.
func (p *peer) reset() {
	if tcp, ok := p.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	p.Close()
}

// counts returns how many connections, bytes and requests came so far.
func (s *server) counts() (conns, bytes, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns, s.bytes, len(s.requests)
}

// all returns the requests so far.
func (s *server) all() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// certificate returns a server's TLS configuration for 127.0.0.1.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	cert := srv.TLS.Certificates[0]
	cert.Leaf = srv.Certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// eachTransport runs a test over plain TCP and over TLS.
func eachTransport(t *testing.T, test func(t *testing.T, secure *tls.Config)) {
	t.Run("tcp", func(t *testing.T) { t.Parallel(); test(t, nil) })
	t.Run("tls", func(t *testing.T) { t.Parallel(); test(t, certificate(t)) })
}
