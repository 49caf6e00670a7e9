package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

func TestNamed(t *testing.T) {
	t.Parallel()
	l := consumer.Letter{Intent: "c25516fa-f344-5b22-8951-0b87693d8531", ID: "7"}
	for _, tt := range []struct {
		word string
		want bool
	}{
		{"c25516fa-f344-5b22-8951-0b87693d8531", true},
		{"C255", true},
		{"c25", false}, // too short to be meant
		{"5516", false},
		{"7", true},
		{"", false},
	} {
		if got := named(l, tt.word); got != tt.want {
			t.Errorf("named(%q): got %v, want %v", tt.word, got, tt.want)
		}
	}
	if named(consumer.Letter{Intent: l.Intent}, "") {
		t.Error("no word means an event without an id")
	}
}

func TestSigned(t *testing.T) {
	t.Parallel()
	a := &app{getenv: func(name string) string { return map[string]string{"USER": "ana"}[name] }}
	got, err := decision{Reason: " why "}.signed(a)
	if want := (decision{Reason: "why", By: "ana"}); err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	got, err = decision{Reason: "why", By: "bo"}.signed(a)
	if err != nil || got.By != "bo" {
		t.Errorf("got %+v (%v), want the name given", got, err)
	}
}

// TestKnock tells a broker that is not running from one that cannot be read.
func TestKnock(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	if err := knock(t.Context(), p.store); err != nil {
		t.Errorf("a running broker: got error %v, want none", err)
	}
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startService(t.Context(), zerolog.Nop(), cfg); !errors.Is(err, broker.ErrInUse) {
		t.Errorf("a second weir on the same store: got error %v, want %v", err, broker.ErrInUse)
	}
	// The file of one that is gone.
	text, err := os.ReadFile(filepath.Join(p.store, "endpoint.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir, Listen: gatewayPort(t)}) // nobody else is there once it has gone
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[notRunningError](knock(t.Context(), dir)); !ok {
		t.Error("a broker that was stopped: want notRunningError")
	}
	if err := os.WriteFile(filepath.Join(dir, "endpoint.json"), text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := knock(t.Context(), dir); err == nil || errors.Is(err, notRunningError{dir}) {
		t.Errorf("a file that cannot be read: got %v, want an error of its own", err)
	}
}

// TestLettersReplacedWhileTheyAreRead keeps a letter anew each time that one is
// read, as an owner does whose events die again.
func TestLettersReplacedWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	in := consumer.Intent{Lane: "sales", Key: consumer.Key("sales", "/crm", "1"), State: consumer.Dead, N: 1}
	if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
		t.Fatal(err)
	}
	keep := func(n int) {
		if err := s.broker.Keep(t.Context(), consumer.Letter{Lane: "sales", Intent: in.Key, State: consumer.Dead, N: n}); err != nil {
			t.Fatal(err)
		}
	}
	keep(1)
	d := &desk{broker: s.broker, ledger: s.ledger}
	n := 1
	for _, err := range d.letters(t.Context(), consumer.Dead, "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n > 4 {
			t.Fatal("got the same letter again and again")
		}
		keep(n)
	}
	if n != 2 {
		t.Errorf("got the letter %d times, want once", n-1)
	}
}

// tap is a way to the broker that asks a test of each message which a client sends.
type tap struct {
	address string
	target  string
	passes  func(subject, body string) bool // false: it is lost
}

func newTap(t *testing.T, target string, passes func(subject, body string) bool) *tap {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &tap{address: "nats://" + ln.Addr().String(), target: strings.TrimPrefix(target, "nats://"), passes: passes}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { v.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait() // the clients were closed before
	})
	return v
}

// serve passes on one connection until either side closes it.
func (v *tap) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", v.target)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	v.requests(server, bufio.NewReader(client))
	_ = server.Close()
	wg.Wait()
}

// requests passes on what the client says, command by command.
func (v *tap) requests(server io.Writer, r *bufio.Reader) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Fields(line)
		var body []byte
		if len(f) > 2 && (f[0] == "PUB" || f[0] == "HPUB") {
			n, err := strconv.Atoi(f[len(f)-1])
			if err != nil {
				return
			}
			body = make([]byte, n+len("\r\n"))
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			if !v.passes(f[1], string(body)) {
				continue
			}
		}
		if _, err := io.WriteString(server, line+string(body)); err != nil {
			return
		}
	}
}

// halfDead is a way to the broker on which every read of the ledger but those
// of the spared entries is lost, as if its stream's leader were away. It counts
// the reads that were lost.
type halfDead struct {
	*tap

	mu   sync.Mutex
	lost map[string]int // by what was asked
}

// newHalfDead spares the entries that have a text in their subject; none if it is empty.
func newHalfDead(t *testing.T, target, spared string) *halfDead {
	t.Helper()
	h := &halfDead{lost: make(map[string]int)}
	h.tap = newTap(t, target, func(subject, body string) bool {
		if !strings.HasSuffix(subject, ".STREAM.MSG.GET."+ledger.Stream) || spared != "" && strings.Contains(body, spared) {
			return true
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.lost[strings.TrimSpace(body)]++
		return false
	})
	return h
}

// asked returns how many entries were asked for in vain.
func (h *halfDead) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.lost)
}

// deskBehind is a desk that sees the broker of s through h. Its reads of the
// ledger give up soon.
func deskBehind(t *testing.T, s *service, h *halfDead) *desk {
	t.Helper()
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: h.address, Token: s.embedded.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	l, err := openLedger(t.Context(), b.JetStream(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{cfg: s.cfg, broker: b, ledger: l}
}

// dead puts events into the ledger, dead, and keeps their letters. It returns
// their keys in that order.
func (p *plant) dead(t *testing.T, s *service, n int) []string {
	t.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = consumer.Key("sales", "/crm", strconv.Itoa(i))
		in := consumer.Intent{Lane: "sales", Key: keys[i], State: consumer.Dead, N: 1, ID: strconv.Itoa(i)}
		if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.broker.Keep(t.Context(), consumer.Letter{Lane: "sales", Intent: keys[i], State: consumer.Dead, N: 1, ID: in.ID}); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// TestListWithASilentLedger has letters that can be read and a ledger that does
// not answer, at once or after the first letter.
func TestListWithASilentLedger(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	keys := p.dead(t, s, 4)
	for _, tt := range []struct {
		name, spared, want string
	}{
		{"at once", "", ""},
		{"after the first letter", keys[0], "LANE   INTENT    EVENT  CLASS  TRIES  SINCE  REASON\nsales  " + keys[0][:8] + "  0      -      0      -      -\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHalfDead(t, s.embedded.URL(), tt.spared)
			d := deskBehind(t, s, h)
			var out syncBuffer
			a := &app{ctx: t.Context(), stdout: &out, stderr: io.Discard, flags: &cli{Output: "table"}}
			err := d.list(a, consumer.Dead, "", "There are no dead letters.", kept.stays)
			if err == nil || !strings.Contains(err.Error(), "neither this letter nor any after it was read") {
				t.Errorf("got error %v, want one that says that letters were not read", err)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
			if got := h.asked(); got != 2 { // one letter's entry, and whether any can be read
				t.Errorf("entries asked for in vain: got %d, want 2", got)
			}
		})
	}
	t.Run("a word", func(t *testing.T) {
		t.Parallel()
		d := deskBehind(t, s, newHalfDead(t, s.embedded.URL(), keys[0]))
		if got, err := d.find(t.Context(), consumer.Dead, "", []string{"3"}); err == nil || !strings.Contains(err.Error(), "neither this letter") {
			t.Errorf("a letter after the silence: got %+v (%v), want an error that says that letters were not read", got, err)
		}
	})
}

// TestListWithOneUnreadableEntry has an entry that a newer weir wrote between
// two that can be read.
func TestListWithOneUnreadableEntry(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	keys := p.dead(t, s, 3)
	subject := fmt.Sprintf("$KV.%s.sales.%s", ledger.Bucket, keys[1])
	if _, err := s.broker.JetStream().Publish(t.Context(), subject, []byte(`{"v":99}`)); err != nil {
		t.Fatal(err)
	}
	printed, code := p.refused(t, "a newer Weir wrote it", "dead", "list")
	contains(t, printed, "sales  "+keys[0][:8], "sales  "+keys[2][:8])
	if strings.Contains(printed, "no dead letters") || strings.Contains(printed, keys[1][:8]) || code != 1 {
		t.Errorf("got exit code %d and:\n%s\nwant 1 and the two letters that can be read", code, printed)
	}
	// The one alone: what cannot be read is not nothing.
	for _, key := range []string{keys[0], keys[2]} {
		if err := s.broker.Discard(t.Context(), "sales", key); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"dead", "list"}, {"dead", "replay", "--all", "--reason", "x"}} {
		printed, code := p.refused(t, "a newer Weir wrote it", args...)
		if printed != "" || code != 1 {
			t.Errorf("weir %v: got exit code %d and:\n%s\nwant 1 and nothing printed", args, code, printed)
		}
	}
}
