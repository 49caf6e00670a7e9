package guard

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stall stands between a client and the broker, and once says nothing for a while
// after so many bytes of the broker's; without a while, it ends the connection.
func stall(t *testing.T, url string, after *atomic.Int64, wait time.Duration) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	pass := func(client net.Conn) {
		defer client.Close()
		broker, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
		if err != nil {
			return
		}
		defer broker.Close()
		go func() { _, _ = io.Copy(broker, client) }()
		b := make([]byte, 4096)
		for {
			n, err := broker.Read(b)
			if left := after.Load(); left > 0 && after.Add(-int64(n)) <= 0 {
				if wait == 0 {
					return
				}
				time.Sleep(wait)
			}
			if _, werr := client.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go pass(client)
		}
	}()
	return "nats://" + ln.Addr().String()
}

// start starts a broker.
func start(t testing.TB, limits server.JSLimitOpts) *server.Server {
	t.Helper()
	e, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, JetStreamLimits: limits})
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	t.Cleanup(func() { e.Shutdown(); e.WaitForShutdown() })
	if !e.ReadyForConnections(3 * time.Minute) {
		t.Fatal("the broker does not start")
	}
	return e
}

// filled returns a walk over a stream with so many messages.
func filled(t testing.TB, url string, n int, opts ...nats.Option) *walk {
	t.Helper()
	nc, err := nats.Connect(url, append(opts, nats.Timeout(time.Minute))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "L", Subjects: []string{"l.>"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprint("l.", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return &walk{js: js, s: s, r: reading{filter: ">", headers: true}, next: 1, size: startRead}
}

// Messages that come too late for their fetch are read all the same: the broker will
// not send them to that consumer again, and an entry that is not read counts as lost.
func TestMessagesThatComeTooLateAreRead(t *testing.T) {
	t.Parallel()
	const all = 2000
	var after atomic.Int64
	w := filled(t, stall(t, start(t, server.JSLimitOpts{}).ClientURL(), &after, readWait+3*time.Second), all)
	w.size = 500
	var got []uint64
	w.give = func(m message) error {
		got = append(got, m.sequence)
		return nil
	}
	after.Store(50_000)
	if err := w.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(got) > 0 && w.step(t.Context()) == nil { //nolint:revive // the rest, one by one
	}
	if len(got) != all || got[all-1] != all {
		t.Errorf("got %d messages, want %d", len(got), all)
	}
	if after.Load() > 0 {
		t.Error("nothing came late")
	}
}

// A server may allow fetches of fewer messages: more are not asked for, or each would
// be asked for by itself.
func TestAServerThatAllowsSmallFetches(t *testing.T) {
	t.Parallel()
	const all = 500
	w, n := filled(t, start(t, server.JSLimitOpts{MaxRequestBatch: 100}).ClientURL(), all), 0
	w.give = func(message) error {
		n++
		return nil
	}
	if err := w.all(t.Context()); err != nil || n != all {
		t.Errorf("in bulk: got %d messages, %v; want %d", n, err, all)
	}
}
