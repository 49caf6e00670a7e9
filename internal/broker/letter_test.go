package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

func letter(n int) consumer.Letter {
	at := time.Date(2026, 11, 21, 3, 4, 5, 678_901_234, time.UTC)
	return consumer.Letter{
		Lane: lane, Intent: key(n), State: consumer.Dead, N: 3, Class: "data",
		Reason: "Zoë's “number” is missing 😀\nsecond line", Type: "lead.created", ID: fmt.Sprint(n), Source: "/crm/ü",
		Claims: 2, Attempts: 1, First: at, Last: at.Add(time.Hour),
		Header: map[string][]string{"ce-id": {fmt.Sprint(n)}, "content-type": {"application/json"}, "X-Twice": {"1", "2"}},
		Data:   []byte("{\"a\":\x00\xff}"),
	}
}

func TestLettersRoundTrip(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	want := letter(1)
	for range 2 { // a repeat changes nothing
		if err := b.Keep(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.Letter(ctx, consumer.Dead, lane, key(1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("letter (-want +got):\n%s", diff)
	}
	if _, err := b.Letter(ctx, consumer.Doubt, lane, key(1)); !errors.Is(err, broker.ErrNoLetter) {
		t.Errorf("letter in another state: got %v, want ErrNoLetter", err)
	}
	if n := messages(t, b, broker.StreamDead); n != 1 {
		t.Errorf("letters stored: got %d, want 1", n)
	}
	if err := b.Keep(ctx, consumer.Letter{Lane: lane, Intent: key(1), State: consumer.Created}); err == nil {
		t.Error("keep of a created intent: got no error")
	}
}

func TestOnlyTheNewestLetterIsKept(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	for n := range 4 {
		l := letter(1)
		l.N = n
		if err := b.Keep(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.Letter(ctx, consumer.Dead, lane, key(1)); err != nil || got.N != 3 {
		t.Errorf("letter: got N %d, %v; want the newest, 3", got.N, err)
	}
	if n := messages(t, b, broker.StreamDead); n != 1 {
		t.Errorf("letters stored: got %d, want 1", n)
	}
	doubt := letter(1)
	doubt.State = consumer.Doubt
	for _, l := range []consumer.Letter{doubt, letter(2)} {
		if err := b.Keep(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := b.Discard(ctx, lane, key(1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		if _, err := b.Letter(ctx, state, lane, key(1)); !errors.Is(err, broker.ErrNoLetter) {
			t.Errorf("%s after a discard: got %v, want ErrNoLetter", state, err)
		}
	}
	if _, err := b.Letter(ctx, consumer.Dead, lane, key(2)); err != nil {
		t.Errorf("another intent's letter after a discard: got %v", err)
	}
}

// A full stream refuses a new letter rather than dropping an old one, and says
// so.
func TestFullDeadLetters(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{Room: broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 256 << 10, Contact: 1 << 20}})
	ctx := t.Context()
	l := letter(0)
	l.Data = make([]byte, 50<<10)
	var err error
	n := 0
	for ; n < 100 && err == nil; n++ {
		l.Intent = key(n)
		err = b.Keep(ctx, l)
	}
	if !errors.Is(err, broker.ErrFull) || !strings.Contains(err.Error(), broker.StreamDead) {
		t.Fatalf("keep %d: got %v, want ErrFull that names the stream", n, err)
	}
	if _, err := b.Letter(ctx, consumer.Dead, lane, key(0)); err != nil {
		t.Errorf("the oldest letter of a full stream: got %v", err)
	}
	l.Intent, l.N = key(0), 4
	if err := b.Keep(ctx, l); err != nil {
		t.Errorf("a newer letter in place of an older one in a full stream: got %v", err)
	}
}

func TestLettersOfALane(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	for n := range 5 {
		l := letter(n)
		if n == 4 {
			l.Lane = "other"
		}
		if err := b.Keep(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.JetStream().Publish(ctx, "weir.dead."+lane+".junk", []byte("not ours")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		state       consumer.State
		lane        string
		want, wrong int
	}{
		{consumer.Dead, lane, 4, 1}, {consumer.Dead, "", 5, 1}, {consumer.Dead, "other", 1, 0},
		{consumer.Dead, "none", 0, 0}, {consumer.Doubt, "", 0, 0}, {consumer.Created, "", 0, 1}, {consumer.Dead, "a.b", 0, 1},
	} {
		got, wrong := 0, 0
		for _, err := range b.Letters(ctx, c.state, c.lane) {
			if err != nil {
				wrong++
			} else {
				got++
			}
		}
		if got != c.want || wrong != c.wrong {
			t.Errorf("letters %q of lane %q: got %d and %d errors, want %d and %d", c.state, c.lane, got, wrong, c.want, c.wrong)
		}
	}
	for l := range b.Letters(ctx, consumer.Dead, "") {
		if l.Intent != key(0) {
			t.Errorf("first letter: got %s, want the oldest", l.Intent)
		}
		break
	}
}

// Whatever the broker once took as an event can be kept.
func TestOversizeLetters(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	const limit = 1 << 20 // the server's max_payload
	long := strings.Repeat("ü", 1000)
	for name, c := range map[string]struct {
		header map[string][]string
		body   int
		kept   int
	}{
		"fits":                     {map[string][]string{"ce-id": {"1"}}, limit - broker.Headroom, limit - broker.Headroom},
		"fits without other words": {map[string][]string{"ce-id": {"1"}, "X-Trace": {strings.Repeat("x", 40<<10)}}, limit - 41<<10, limit - 41<<10},
		"body too long":            {map[string][]string{"ce-id": {"1"}}, limit - 50, -1},
		"headers too long":         {map[string][]string{"ce-note": {strings.Repeat("x", limit-200)}}, 50, -1},
	} {
		l := letter(1)
		l.N, l.Header, l.Data = len(name), c.header, make([]byte, c.body)
		l.Reason, l.Source, l.ID, l.Type = long, long, long, long
		if err := b.Keep(ctx, l); err != nil {
			t.Errorf("%s: keep: %v", name, err)
			continue
		}
		got, err := b.Letter(ctx, consumer.Dead, lane, key(1))
		if err != nil {
			t.Errorf("%s: letter: %v", name, err)
			continue
		}
		if got.N != l.N || !strings.HasPrefix(got.Reason, "üü") {
			t.Errorf("%s: got N %d, reason %.20q", name, got.N, got.Reason)
		}
		err = b.Replay(ctx, got, consumer.Replay{Expect: l.N})
		if c.kept >= 0 && (len(got.Data) != c.kept || err != nil) {
			t.Errorf("%s: got %d bytes, replay %v; want %d and nil", name, len(got.Data), err, c.kept)
		}
		if id := got.Header["ce-id"]; len(c.header["ce-id"]) != len(id) {
			t.Errorf("%s: got ce-id %q, want the event's own", name, id)
		}
		if c.kept < 0 && !errors.Is(err, broker.ErrCut) {
			t.Errorf("%s: replay: got %v, want ErrCut", name, err)
		}
	}
}
