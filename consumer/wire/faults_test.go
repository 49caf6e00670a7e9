package wire_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer/wire"
)

// The tests of this file are named after the rows of docs/faults.md. What an
// exchange means for the events in it is the contract of the clients, see
// providertest; here is what the transport does and leaves undone.

const (
	limit   = 4 << 10 // of what is read of an answer
	timeout = 400 * time.Millisecond
	soon    = 30 * time.Second // for what comes at once, on a busy machine
	tries   = 20               // to use a connection again: the transport keeps none for which it had no time
)

// peer is a provider at the level of bytes.
type peer struct {
	ln net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	conns    []net.Conn
	ended    int // of conns
	requests []*http.Request
}

// listen runs handle on each connection, after the first request on it was read.
func listen(t *testing.T, handle func(p *peer, c net.Conn, r *bufio.Reader)) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{ln: ln}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(c, handle) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *peer) serve(c net.Conn, handle func(*peer, net.Conn, *bufio.Reader)) {
	defer func() {
		c.Close()
		p.mu.Lock()
		p.ended++
		p.mu.Unlock()
	}()
	r := bufio.NewReader(c)
	if p.next(r) {
		handle(p, c, r)
	}
}

// next reads one request and reports whether there was one.
func (p *peer) next(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, req.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, req)
	return true
}

// seen returns how many requests came, on how many connections.
func (p *peer) seen() (requests, conns int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests), len(p.conns)
}

// all is seen when all that a client sent has come: the client has given up its
// connections, of which there is one at least.
func (p *peer) all() (requests, conns int) {
	for end := time.Now().Add(soon); time.Now().Before(end); <-time.After(time.Millisecond) {
		p.mu.Lock()
		over := p.ended > 0 && p.ended == len(p.conns)
		p.mu.Unlock()
		if over {
			break
		}
	}
	return p.seen()
}

func (p *peer) url() string { return "http://" + p.ln.Addr().String() }

// client is one of the peer's; cfg has what differs.
func client(t *testing.T, cfg wire.Config) *wire.Client {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = timeout
	}
	c, err := wire.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func allow() error { return nil }

// drip writes a text again and again until the other side is gone.
func drip(c net.Conn, text string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// TestFault28To30And35AnswersThatAreNone has a provider that reads the request
// and then answers slowly, in part, too much or not at all: the request was
// written, its answer is not whole, and it is not sent again.
func TestFault28To30And35AnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer func(c net.Conn)
		status int
		slow   bool // ends by the time-out
	}{
		"28 silence":                {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, 0, true},
		"28 headers that never end": {func(c net.Conn) { io.WriteString(c, head+"X: "); drip(c, "x") }, 0, true},
		"28 a body by the byte":     {func(c net.Conn) { io.WriteString(c, head+"Content-Length: 9999\r\n\r\n"); drip(c, " ") }, 200, true},
		"28 interim answers":        {func(c net.Conn) { drip(c, "HTTP/1.1 102 Processing\r\n\r\n") }, 0, true},
		"28 headers without bound":  {func(c net.Conn) { io.WriteString(c, head+"X: "+strings.Repeat("x", 1<<20)) }, 0, false},
		"29 a header cut":           {func(c net.Conn) { io.WriteString(c, head[:30]) }, 0, false},
		"29 a body cut":             {func(c net.Conn) { io.WriteString(c, head+"Content-Length: 99\r\n\r\n{") }, 200, false},
		"29 a chunk cut":            {func(c net.Conn) { io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\nff\r\n{") }, 200, false},
		"29 two lengths":            {func(c net.Conn) { io.WriteString(c, head+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}") }, 0, false},
		"30 closed":                 {func(net.Conn) {}, 0, false},
		"30 reset":                  {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, 0, false},
		"35 a huge body": {func(c net.Conn) {
			io.WriteString(c, head+"\r\n")
			for err := error(nil); err == nil; { // without end
				_, err = c.Write(make([]byte, 64<<10))
			}
		}, 200, false},
		"35 no HTTP": {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") }, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var x wire.Exchange
			var took time.Duration
			var requests, conns int
			least := soon
			if tc.slow {
				least = timeout
			}
			for {
				p := listen(t, func(_ *peer, c net.Conn, _ *bufio.Reader) { tc.answer(c) })
				c := client(t, wire.Config{URL: p.url(), Timeout: least})
				began := time.Now()
				x = c.Post(t.Context(), "/x", []byte("{}"), allow, limit)
				took = time.Since(began)
				if x.Written {
					requests, conns = p.all()
				}
				// On a busy machine its time may be over too soon, also between the
				// first byte's permission and the byte.
				if !tc.slow || requests > 0 && x.Status == tc.status || least >= soon {
					break
				}
				least *= 4
			}
			if !x.Written || x.Status != tc.status || x.Complete || x.Err == nil {
				t.Errorf("got written %v, status %d, complete %v, error %v; want written, %d, not complete, an error", x.Written, x.Status, x.Complete, x.Err, tc.status)
			}
			if len(x.Body) > limit {
				t.Errorf("body: got %d bytes, want at most %d", len(x.Body), limit)
			}
			if tc.slow && took < least || !tc.slow && took > soon-time.Second {
				t.Errorf("took %v", took)
			}
			if requests != 1 || conns != 1 {
				t.Errorf("got %d requests on %d connections, want one", requests, conns)
			}
		})
	}
}

// TestFault31NothingWasSent has what fails before the first byte.
func TestFault31NothingWasSent(t *testing.T) {
	t.Parallel()
	p := listen(t, func(*peer, net.Conn, *bufio.Reader) {})
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, url := range map[string]string{
		"refused":           "http://127.0.0.1:1",
		"no such name":      "https://" + strings.Repeat("x", 64) + ".invalid",
		"unknown authority": secure.URL,
		"no TLS":            "https" + strings.TrimPrefix(p.url(), "http"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, wire.Config{URL: url, Timeout: soon})
			x := c.Post(t.Context(), "/x", []byte("{}"), func() error { t.Error("permission was asked for"); return nil }, limit)
			if x.Written || x.Err == nil || x.Status != 0 {
				t.Errorf("got %+v, want an error and nothing written", x)
			}
		})
	}
}

// TestFault34NothingIsFollowedOrRepeated has answers after which a transport
// might send again by itself, also on a connection that it has used before.
func TestFault34NothingIsFollowedOrRepeated(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308, 408, 417, 421, 425, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			p := listen(t, func(p *peer, c net.Conn, r *bufio.Reader) {
				for {
					fmt.Fprintf(c, "HTTP/1.1 %d X\r\nLocation: /x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", status)
					if !p.next(r) {
						return
					}
				}
			})
			c := client(t, wire.Config{URL: p.url(), Timeout: soon})
			for n := range 2 {
				x := c.Post(t.Context(), "/x", []byte("{}"), allow, limit)
				if requests, _ := p.seen(); x.Status != status || !x.Written || requests != n+1 {
					t.Errorf("got status %d, written %v, %d requests; want %d, true, %d", x.Status, x.Written, requests, status, n+1)
				}
			}
		})
	}
}

// TestFault34AConnectionThatEndsWhenItIsUsedAgain is where net/http repeats a
// request by itself, unless it cannot.
func TestFault34AConnectionThatEndsWhenItIsUsedAgain(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		p := listen(t, func(p *peer, c net.Conn, r *bufio.Reader) {
			io.WriteString(c, head+"Content-Length: 2\r\n\r\n{}")
			p.next(r)
		})
		c := client(t, wire.Config{URL: p.url(), Timeout: soon})
		if x := c.Post(t.Context(), "/x", []byte("{}"), allow, limit); !x.Complete {
			t.Fatalf("first: got %+v", x)
		}
		x := c.Post(t.Context(), "/x", []byte("{}"), allow, limit)
		requests, conns := p.seen()
		if x.Status == 200 && conns == 2 && n < tries {
			continue
		}
		if !x.Written || x.Status != 0 || requests != 2 || conns != 1 {
			t.Errorf("second: got written %v, status %d; %d requests on %d connections; want written, 0, 2 on 1", x.Written, x.Status, requests, conns)
		}
		return
	}
}

// TestFault34OnlyHTTP1WithoutExpect: there is no stream that a GOAWAY could
// refuse, and no body that waits for a "100 Continue".
func TestFault34OnlyHTTP1WithoutExpect(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server that leaves it unread may cut the connection under the writer
		got <- r
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c := client(t, wire.Config{URL: srv.URL, RootCAs: roots, Timeout: soon})
	if x := c.Post(t.Context(), "/x", bytes.Repeat([]byte("x"), 1<<20), allow, limit); !x.Complete {
		t.Fatalf("got %+v", x)
	}
	if r := <-got; r.ProtoMajor != 1 || r.Header.Get("Expect") != "" || len(r.TransferEncoding) > 0 {
		t.Errorf("got %s with Expect %q and %v; want HTTP/1.1 with neither", r.Proto, r.Header.Get("Expect"), r.TransferEncoding)
	}
}

// TestFault14APauseBeforeTheFirstByte holds up the handshake until the claim is
// too old: permission is asked for after it, and nothing is written.
func TestFault14APauseBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(http.NotFoundHandler())
	pair, roots := cert.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(cert.Certificate())
	cert.Close()
	const tooOld = 200 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	read := make(chan int, 1)
	go func() {
		raw, err := ln.Accept()
		if err != nil {
			read <- -1
			return
		}
		defer raw.Close()
		<-time.After(2 * tooOld)
		n, _ := io.Copy(io.Discard, tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
		read <- int(n)
	}()
	c := client(t, wire.Config{URL: "https://" + ln.Addr().String(), RootCAs: roots, Timeout: soon})
	claimed := time.Now()
	errOld := errors.New("the claim is too old")
	x := c.Post(t.Context(), "/x", []byte("{}"), func() error {
		if time.Since(claimed) > tooOld {
			return errOld
		}
		return nil
	}, limit)
	if x.Written || !errors.Is(x.Err, errOld) {
		t.Errorf("got written %v, error %v; want nothing written, %v", x.Written, x.Err, errOld)
	}
	c.Close()
	select {
	case n := <-read:
		if n != 0 {
			t.Errorf("bytes above TLS: got %d, want 0", n)
		}
	case <-time.After(soon):
		t.Error("the connection is kept")
	}
}

// TestFault37AnAnswerAfterTheDeadline comes when the request was given up: nobody
// reads it as that of the next one.
func TestFault37AnAnswerAfterTheDeadline(t *testing.T) {
	t.Parallel()
	arrived, late := make(chan struct{}), make(chan struct{})
	p := listen(t, func(p *peer, c net.Conn, _ *bufio.Reader) {
		if requests, _ := p.seen(); requests == 1 {
			close(arrived)
			<-late
			io.WriteString(c, head+"Content-Length: 4\r\n\r\nlate")
			return
		}
		io.WriteString(c, head+"Content-Length: 3\r\n\r\nown")
	})
	c := client(t, wire.Config{URL: p.url()})
	for came := false; !came; { // a busy machine may write nothing before the deadline
		x := c.Post(t.Context(), "/x", []byte("{}"), allow, limit)
		if x.Status != 0 || x.Err == nil {
			t.Fatalf("first: got %+v, want no answer", x)
		}
		if !x.Written {
			continue
		}
		select {
		case <-arrived:
			came = true
		case <-time.After(soon): // its time was over between the permission and the first byte
		}
	}
	close(late)
	x := c.Post(t.Context(), "/x", []byte("{}"), allow, limit)
	for end := time.Now().Add(soon); !x.Complete && time.Now().Before(end); {
		x = c.Post(t.Context(), "/x", []byte("{}"), allow, limit)
	}
	if string(x.Body) != "own" {
		t.Errorf("second: got %q, want its own answer", x.Body)
	}
}

// TestFault35ABombIsNotUnpacked has an answer that is small as it comes, and was
// not asked to be packed.
func TestFault35ABombIsNotUnpacked(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	p := listen(t, func(_ *peer, c net.Conn, _ *bufio.Reader) {
		fmt.Fprintf(c, head+"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", bomb.Len(), bomb.String())
	})
	c := client(t, wire.Config{URL: p.url(), Timeout: soon})
	x := c.Post(t.Context(), "/x", []byte("{}"), allow, limit)
	if !x.Complete || !bytes.Equal(x.Body, bomb.Bytes()) || c.Censor().Coding(x.Header) == "" {
		t.Errorf("got complete %v and %d bytes, want the %d as they came, and their coding named", x.Complete, len(x.Body), bomb.Len())
	}
}
