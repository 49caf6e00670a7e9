package broker_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "dir")
	e := embed(t, broker.EmbeddedConfig{Dir: dir, Listen: ownPort(t)}) // again it keeps the port by itself
	b := connect(t, e, broker.Config{})
	publish(t, b, "event")
	if err := b.Keep(t.Context(), letter(1)); err != nil {
		t.Fatal(err)
	}
	if err := b.Pause(t.Context(), lane, "ann", "why"); err != nil {
		t.Fatal(err)
	}
	before := e.URL()
	if err := errors.Join(b.Close(t.Context()), e.Shutdown()); err != nil {
		t.Fatal(err)
	}

	again, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Shutdown() })
	if again.URL() != before || again.Token() != e.Token() {
		t.Errorf("after a restart: got %s, want the same address and token as before, %s", again.URL(), before)
	}
	b = connect(t, again, broker.Config{})
	events, _ := queues(t, b)
	if m := fetch(t, events, 1)[0]; string(m.Data()) != "event" {
		t.Errorf("event: got %q", m.Data())
	}
	if _, err := b.Letter(t.Context(), consumer.Dead, lane, key(1)); err != nil {
		t.Errorf("letter: %v", err)
	}
	if p, err := b.Pauses(t.Context()); err != nil || p[lane].By != "ann" {
		t.Errorf("pauses: got %v, %v", p, err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := embed(t, broker.EmbeddedConfig{Dir: dir})
	_, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir})
	if !errors.Is(err, broker.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second start: got %v, want ErrInUse that names the directory", err)
	}
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	embed(t, broker.EmbeddedConfig{Dir: dir})
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, _, err := broker.ReadEndpoint(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("endpoint of an empty directory: got %v, want an error that names it", err)
	}
	e := embed(t, broker.EmbeddedConfig{Dir: dir, Token: "chosen"})
	url, token, err := broker.ReadEndpoint(dir)
	if err != nil || url != e.URL() || token != "chosen" {
		t.Errorf("endpoint: got %s, %v; want %s", url, err, e.URL())
	}
	info, err := os.Stat(filepath.Join(dir, "endpoint.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("endpoint.json: got %v, %v; want mode 0600", info.Mode(), err)
	}
	for _, wrong := range []string{"", "wrong"} {
		if nc, err := nats.Connect(url, nats.Token(wrong)); err == nil {
			nc.Close()
			t.Errorf("token %q: got a connection", wrong)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := broker.Connect(ctx, zerolog.Nop(), broker.Config{URL: url, Token: "wrong"}); !errors.Is(err, nats.ErrAuthorization) || ctx.Err() != nil {
		t.Errorf("connect with a wrong token: got %v, %v; want an authorization error at once", err, ctx.Err())
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"0.0.0.0:4222", ":4222", "192.0.2.1:0", "example.com:0", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"} {
		if e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: t.TempDir(), Listen: bad}); err == nil {
			_ = e.Shutdown()
			t.Errorf("listen %s: got no error", bad)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	dir := t.TempDir()
	_, err = broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir, Listen: ln.Addr().String(), MaxStore: 1 << 30})
	if err == nil || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("listen where somebody does: got %v, want an error that names the address", err)
	}

	// A port that was chosen at random is given up if somebody else has it.
	e := embed(t, broker.EmbeddedConfig{Dir: dir})
	first := strings.TrimPrefix(e.URL(), "nats://")
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	e = embed(t, broker.EmbeddedConfig{Dir: dir})
	if url, _, err := broker.ReadEndpoint(dir); err != nil || url != e.URL() || url == "nats://"+first {
		t.Errorf("endpoint with the old port taken: got %s, %v; want %s", url, err, e.URL())
	}
}

func TestStoreSize(t *testing.T) {
	t.Parallel()
	if _, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: t.TempDir(), MaxStore: 10 << 20}); err == nil || !strings.Contains(err.Error(), "256 MiB") {
		t.Errorf("a store of 10 MiB: got %v, want an error that says what is needed", err)
	}
	dir := t.TempDir()
	e := embed(t, broker.EmbeddedConfig{Dir: dir, MaxStore: 256 << 20})
	room, ledger := e.Room()
	if sum := room.Events + room.Outcomes + room.Dead + ledger; sum > 210<<20 || room.Events < 100<<20 || ledger < 50<<20 {
		t.Errorf("rooms of a small store: got %+v and %d", room, ledger)
	}
	b := connect(t, e, broker.Config{}) // provisions
	publish(t, b, "x")
	if err := errors.Join(b.Close(t.Context()), e.Shutdown()); err != nil {
		t.Fatal(err)
	}
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown() })
	if again, _ := e.Room(); again != room {
		t.Errorf("rooms after a restart: got %+v, want those of the first start, %+v", again, room)
	}
	connect(t, e, broker.Config{})
}

// Neither the loss of endpoint.json nor a chosen size makes the store smaller than
// its streams: the server would refuse to change them.
func TestStoreSizeOfAnExistingStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const first = 8 << 30 // more than the default
	e := embed(t, broker.EmbeddedConfig{Dir: dir, MaxStore: first})
	room := broker.Room{Events: 6 << 30, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}
	b := connect(t, e, broker.Config{Room: room})
	publish(t, b, "x")
	if err := errors.Join(b.Close(t.Context()), e.Shutdown()); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{0, 256 << 20} {
		if err := os.Remove(filepath.Join(dir, "endpoint.json")); err != nil {
			t.Fatal(err)
		}
		e := embed(t, broker.EmbeddedConfig{Dir: dir, MaxStore: size})
		b := connect(t, e, broker.Config{}) // sets the rooms that follow from the size
		if n := messages(t, b, broker.StreamEvents); n != 1 {
			t.Errorf("a size of %d: got %d events, want 1", size, n)
		}
		if err := errors.Join(b.Close(t.Context()), e.Shutdown()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := embed(t, broker.EmbeddedConfig{Dir: dir, Listen: ownPort(t)})
	url, token := e.URL(), e.Token()
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := broker.Connect(ctx, zerolog.Nop(), broker.Config{URL: url, Token: token}); !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("connect with no broker: got %v, want ErrNoServers at the end of the context", err)
	}
	type result struct {
		b   *broker.Broker
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: url, Token: token})
		done <- result{b, err}
	}()
	embed(t, broker.EmbeddedConfig{Dir: dir})
	r := <-done
	if r.err != nil {
		t.Fatalf("connect: got %v, want success once the broker is there", r.err)
	}
	if err := r.b.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}
