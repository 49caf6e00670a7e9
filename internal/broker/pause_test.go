package broker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
)

// change is one call of a watcher.
type change struct {
	lane string
	p    *broker.PauseRecord
}

// watch runs a watcher until the test ends.
func watch(t *testing.T, b *broker.Broker) <-chan change {
	t.Helper()
	changes := make(chan change, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.WatchPauses(ctx, func(lane string, p *broker.PauseRecord) { changes <- change{lane, p} })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: got %v, want nil at the end of its context", err)
		}
	})
	return changes
}

// next returns the watcher's next call.
func next(t *testing.T, changes <-chan change) change {
	t.Helper()
	select {
	case c := <-changes:
		return c
	case <-time.After(patience):
		t.Fatal("watch: no call")
		return change{}
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	if got, err := b.Pauses(ctx); err != nil || len(got) != 0 {
		t.Fatalf("pauses: got %v, %v; want none", got, err)
	}
	for _, by := range []string{"weir", "Zoë"} {
		if err := b.Pause(ctx, lane, by, "ten equal rejections"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Pause(ctx, "other", "ann", ""); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(ctx, "other", "ann"); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(ctx, "never-paused", "ann"); err != nil {
		t.Fatal(err)
	}
	got, err := b.Pauses(ctx)
	if err != nil || len(got) != 1 || got[lane].By != "Zoë" || got[lane].Reason != "ten equal rejections" || time.Since(got[lane].At) > time.Minute {
		t.Errorf("pauses: got %+v, %v; want one, by Zoë", got, err)
	}
}

// A resume that was sent twice, and one copy of which was held up on its way,
// does not undo the pause that came after it.
func TestALateTwinOfAResumeIsHarmless(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	direct := connect(t, e, broker.Config{})
	r := newRelay(t, e.URL())
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: r.url, Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	r.holdUp()
	done := make(chan error, 1)
	go func() { done <- b.Resume(t.Context(), lane, "ann") }()
	r.cut(t, "\"by\":\"ann\"") // the client connects anew, and sends it again
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := direct.Pause(t.Context(), lane, "bob", "stop"); err != nil {
		t.Fatal(err)
	}
	r.release(t, broker.StreamLanes) // its PubAck
	if p, err := direct.Pauses(t.Context()); err != nil || p[lane].By != "bob" {
		t.Errorf("pauses: got %v, %v; want bob's, who was the last", p, err)
	}
}

func TestWatchPauses(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	if err := b.Pause(ctx, lane, "ann", "before"); err != nil {
		t.Fatal(err)
	}
	changes := watch(t, b)
	if c := next(t, changes); c.lane != lane || c.p == nil || c.p.By != "ann" || c.p.Reason != "before" {
		t.Errorf("first call: got %+v, want the pause that was there", c)
	}
	if err := b.Pause(ctx, "other", "bob", "now"); err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c.lane != "other" || c.p == nil || c.p.By != "bob" {
		t.Errorf("second call: got %+v", c)
	}
	if err := b.Resume(ctx, lane, "ann"); err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c.lane != lane || c.p != nil {
		t.Errorf("third call: got %+v, want the lane to run", c)
	}
	if _, err := b.JetStream().Publish(ctx, "$KV.WEIR_LANES.pause."+lane, []byte("{broken")); err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c.lane != lane || c.p == nil {
		t.Errorf("a record that cannot be read: got %+v, want a pause", c)
	}
	if paused, err := b.Pauses(ctx); err != nil || !strings.Contains(paused[lane].Reason, "cannot be read") {
		t.Errorf("pauses with a record that cannot be read: got %v, %v; want that it counts as a pause", paused, err)
	}
	select {
	case c := <-changes:
		t.Errorf("a call without a change: %+v", c)
	default:
	}
}

func TestWatchOutlastsARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := embed(t, broker.EmbeddedConfig{Dir: dir, Listen: ownPort(t)})
	b := connect(t, e, broker.Config{})
	if err := b.Pause(t.Context(), lane, "ann", "before"); err != nil {
		t.Fatal(err)
	}
	changes := watch(t, b)
	next(t, changes)
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown() })
	other := connect(t, e, broker.Config{})
	if err := other.Resume(t.Context(), lane, "ann"); err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c.lane != lane || c.p != nil {
		t.Errorf("after a restart: got %+v, want the lane to run", c)
	}
	if err := b.Pause(t.Context(), lane, "ann", "again"); err != nil {
		t.Errorf("the old connection after a restart: got %v", err)
	}
	if c := next(t, changes); c.p == nil || c.p.Reason != "again" {
		t.Errorf("after a restart: got %+v", c)
	}
}

// A bucket that was replaced, by a restore for instance, counts its sequences
// anew.
func TestWatchOfAReplacedBucket(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	connect(t, e, broker.Config{}) // makes the streams
	log := &logged{text: make(chan string, 100)}
	room, _ := e.Room()
	b, err := broker.Connect(t.Context(), zerolog.New(log), broker.Config{URL: e.URL(), Token: e.Token(), Room: room})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	changes := watch(t, b)
	for _, name := range []string{"one", "two", lane} {
		if err := b.Pause(t.Context(), name, "ann", "before"); err != nil {
			t.Fatal(err)
		}
		next(t, changes)
	}
	if err := b.JetStream().DeleteStream(t.Context(), broker.StreamLanes); err != nil {
		t.Fatal(err)
	}
	log.await(t, "pauses cannot be read")
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Pause(t.Context(), lane, "bob", "after"); err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c.lane != lane || c.p == nil || c.p.By != "bob" {
		t.Errorf("after the bucket was replaced: got %+v, want the new pause", c)
	}
}

// logged is a log that a test can wait for.
type logged struct{ text chan string }

func (l *logged) Write(p []byte) (int, error) {
	select {
	case l.text <- string(p):
	default:
	}
	return len(p), nil
}

func (l *logged) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line := <-l.text:
			if strings.Contains(line, text) {
				return
			}
		case <-deadline:
			t.Fatalf("log: no line with %q", text)
		}
	}
}
