package oration_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// server is a provider that answers with raw bytes. What every provider's client
// does with connections is tested by the contract.
type server struct {
	url string

	mu       sync.Mutex
	requests []request
}

// request is one that was read to its end.
type request struct {
	line   string
	header http.Header
	body   string
}

// peer is a connection to the server.
type peer struct {
	net.Conn
	s *server
	r *bufio.Reader
}

// serve runs a server that calls handle for each connection.
func serve(t *testing.T, handle func(p *peer)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	s := &server{url: "http://" + ln.Addr().String() + "/api/v2"}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p := &peer{Conn: conn, s: s, r: bufio.NewReader(conn)}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() {
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
		line: req.Method + " " + req.RequestURI + " " + req.Proto, header: req.Header, body: string(b),
	})
	return true
}

// answer writes a whole answer with a JSON body.
func (p *peer) answer(status int, body string) {
	fmt.Fprintf(p, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}

// all returns the requests so far.
func (s *server) all() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}
