package broker_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
)

// relay stands between a client and the broker, and can hold up what the client
// says, even beyond the end of the client's connection.
type relay struct {
	url    string
	target string
	wg     sync.WaitGroup
	says   func([]byte) []byte // changes what the broker says; nil: nothing

	mu    sync.Mutex
	links []*link
	hold  bool
	away  bool // nobody can connect
}

// link is one connection through the relay.
type link struct {
	client, server net.Conn
	held, answers  bytes.Buffer
}

func newRelay(t *testing.T, url string) *relay {
	t.Helper()
	return newRelayThat(t, url, nil)
}

func newRelayThat(t *testing.T, url string, says func([]byte) []byte) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{url: "nats://" + ln.Addr().String(), target: strings.TrimPrefix(url, "nats://"), says: says}
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.serve(c)
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		r.mu.Lock()
		for _, l := range r.links {
			_, _ = l.client.Close(), l.server.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) serve(client net.Conn) {
	r.mu.Lock()
	away := r.away
	r.mu.Unlock()
	if away {
		_ = client.Close()
		return
	}
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client: client, server: server}
	r.mu.Lock()
	r.links = append(r.links, l)
	r.mu.Unlock()
	r.wg.Go(func() {
		read(client, func(b []byte) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.hold {
				l.held.Write(b)
			} else {
				_, _ = server.Write(b)
			}
		})
	})
	r.wg.Go(func() {
		read(server, func(b []byte) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.says != nil {
				b = r.says(b)
			}
			l.answers.Write(b)
			_, _ = client.Write(b)
		})
	})
}

func read(c net.Conn, got func([]byte)) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		got(buf[:n])
		if err != nil {
			return
		}
	}
}

// holdUp holds what the clients say from now on.
func (r *relay) holdUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = true
}

// cut ends the first client's connection, once it has said text; the broker's
// side stays open. Other connections work from now on.
func (r *relay) cut(t *testing.T, text string) {
	t.Helper()
	until(t, "the client says "+text, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !bytes.Contains(r.links[0].held.Bytes(), []byte(text)) {
			return false
		}
		r.hold = false
		_ = r.links[0].client.Close()
		return true
	})
}

// release sends what was held, and waits until the broker has answered with
// text.
func (r *relay) release(t *testing.T, text string) {
	t.Helper()
	r.mu.Lock()
	l := r.links[0]
	l.answers.Reset()
	_, err := l.server.Write(l.held.Bytes())
	r.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the broker answers "+text, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return bytes.Contains(l.answers.Bytes(), []byte(text))
	})
}

// leave lets nobody connect, or with false everybody again.
func (r *relay) leave(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}
