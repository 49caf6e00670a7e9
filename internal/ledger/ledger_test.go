package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/ledger"
)

const lane = "acme-sales"

func key(n int) string { return consumer.Key(lane, "/crm", fmt.Sprint(n)) }

func subject(key string) string { return "$KV.WEIR_LEDGER." + lane + "." + key }

func intent(n int) consumer.Intent {
	at := time.Date(2026, 11, 21, 3, 4, 5, 678_901_234, time.UTC)
	return consumer.Intent{
		Lane: lane, Key: key(n), State: consumer.Started, N: 2, Claims: 1, Attempts: 1,
		Waits: map[string]int{"full": 3, "unsent": 1},
		Nonce: "nonce", Claimed: at, NotBefore: at.Add(time.Hour),
		RedialOf: "0", Redial: 2, Next: "0.redial.3", NextAt: at.Add(4 * time.Hour),
		Source: "/crm", ID: fmt.Sprint(n), Type: "lead.created", Digest: "abc", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Former: "old", Later: true, Sequence: 42, Born: time.Date(2026, 1, 30, 8, 0, 0, 0, time.UTC), Open: true, Foreign: true, Doubted: true, Channel: "webrtc", Session: consumer.Session{Greeting: "Hi", Join: `{"token":"t"}`},
		Print: "1a2b", Made: 1, Named: []consumer.Named{{Conversation: "conv_9", Why: "unknown", At: at}},
		Conversation: "conv", Others: []string{"other"}, Class: "data", Reason: "why", Forgotten: at.Add(time.Minute), First: at,
		History: []consumer.Transition{
			{N: 1, State: consumer.Waiting, At: at, Cause: "full", Reason: "full"},
			{N: 2, State: consumer.Started, Claim: 1, At: at, By: "ann", Reason: "asked"},
		},
	}
}

func TestStoreThenLoad(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	ctx := t.Context()

	got, revision, err := l.Load(ctx, lane, key(1))
	if want := (consumer.Intent{Lane: lane, Key: key(1)}); err != nil || revision != 0 || !cmp.Equal(got, want) {
		t.Fatalf("load of an absent entry: got %+v, %d, %v; want absent, 0, nil", got, revision, err)
	}
	want := intent(1)
	first, err := l.Store(ctx, want, 0)
	if err != nil || first == 0 {
		t.Fatalf("create: got %d, %v", first, err)
	}
	want.State, want.N = consumer.Created, 3
	second, err := l.Store(ctx, want, first)
	if err != nil || second <= first {
		t.Fatalf("update: got %d, %v; want more than %d", second, err, first)
	}
	got, revision, err = l.Load(ctx, lane, key(1))
	if err != nil || revision != second {
		t.Fatalf("load: got revision %d, %v; want %d", revision, err, second)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
}

func TestStoreRefusesAnOldRevision(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	ctx := t.Context()
	first, err := l.Store(ctx, intent(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Store(ctx, intent(1), first)
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []uint64{0, first, second + 1} {
		if _, err := l.Store(ctx, intent(1), revision); !errors.Is(err, consumer.ErrConflict) {
			t.Errorf("store at %d with %d the newest: got %v, want ErrConflict", revision, second, err)
		}
	}
}

func TestStoreRefusesNonsense(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	for name, change := range map[string]func(*consumer.Intent){
		"lane with a wildcard": func(in *consumer.Intent) { in.Lane = "*" },
		"lane with a dot":      func(in *consumer.Intent) { in.Lane = "a.b" },
		"no lane":              func(in *consumer.Intent) { in.Lane = "" },
		"key":                  func(in *consumer.Intent) { in.Key = ">" },
		"no state":             func(in *consumer.Intent) { in.State = consumer.Absent },
	} {
		in := intent(1)
		change(&in)
		if _, err := l.Store(t.Context(), in, 0); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if _, _, err := l.Load(t.Context(), lane, "*"); err == nil {
		t.Error("load of a wildcard: got no error")
	}
}

func TestExactlyOneWriterWins(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	other := open(t, js, ledger.Config{})
	for n := range 50 {
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			writer := []*ledger.Ledger{l, other}[i%2]
			in := intent(n)
			in.Nonce = fmt.Sprint(i)
			wg.Go(func() { _, errs[i] = writer.Store(t.Context(), in, 0) })
		}
		wg.Wait()
		winner := ""
		for i, err := range errs {
			switch {
			case err == nil && winner == "":
				winner = fmt.Sprint(i)
			case !errors.Is(err, consumer.ErrConflict):
				t.Fatalf("writer %d: got %v, want ErrConflict after %q had won", i, err, winner)
			}
		}
		if got, _, err := l.Load(t.Context(), lane, key(n)); err != nil || got.Nonce != winner {
			t.Fatalf("stored: got nonce %q, %v; want the winner's, %q", got.Nonce, err, winner)
		}
	}
}

func TestARemovedKeyIsAbsent(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	ctx := t.Context()
	kv, err := js.KeyValue(ctx, ledger.Bucket)
	if err != nil {
		t.Fatalf("the bucket is no key-value bucket to others: %v", err)
	}
	for n, remove := range map[int]func(string) error{
		1: func(k string) error { return kv.Delete(ctx, k) },
		2: func(k string) error { return kv.Purge(ctx, k) },
		3: func(string) error {
			s, err := js.Stream(ctx, ledger.Stream)
			if err != nil {
				return err
			}
			return s.Purge(ctx, jetstream.WithPurgeSubject(subject(key(3))))
		},
	} {
		before, err := l.Store(ctx, intent(n), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := remove(lane + "." + key(n)); err != nil {
			t.Fatal(err)
		}
		if got, revision, err := l.Load(ctx, lane, key(n)); err != nil || revision != 0 || got.State != consumer.Absent {
			t.Errorf("case %d: load of a removed entry: got %s, %d, %v; want absent, 0, nil", n, got.State, revision, err)
		}
		if _, err := l.Store(ctx, intent(n), before); !errors.Is(err, consumer.ErrConflict) {
			t.Errorf("case %d: update of a removed entry: got %v, want ErrConflict", n, err)
		}
		if _, err := l.Store(ctx, intent(n), 0); err != nil {
			t.Errorf("case %d: create after a removal: got %v", n, err)
		}
		if _, err := l.Store(ctx, intent(n), 0); !errors.Is(err, consumer.ErrConflict) {
			t.Errorf("case %d: second create: got %v, want ErrConflict", n, err)
		}
	}
}

func TestUnknownMembersSurvive(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	ctx := t.Context()
	raw := `{"v":1,"w":"x","state":"waiting","n":1,"first":"2026-11-21T00:00:00Z","later":{"at":[1,2.50]},"zone":null}`
	ack, err := js.Publish(ctx, subject(key(1)), []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	in, revision, err := l.Load(ctx, lane, key(1))
	if err != nil || revision != ack.Sequence {
		t.Fatalf("load: got %d, %v", revision, err)
	}
	in.State = consumer.Started
	if revision, err = l.Store(ctx, in, revision); err != nil {
		t.Fatal(err)
	}
	// A ledger that has not read the entry keeps them as well.
	in.State = consumer.Created
	if _, err = open(t, js, ledger.Config{}).Store(ctx, in, revision); err != nil {
		t.Fatal(err)
	}
	stored := members(t, js, key(1))
	for name, want := range map[string]string{"later": `{"at":[1,2.50]}`, "zone": `null`, "state": `"created"`, "v": "1"} {
		if got := string(stored[name]); got != want {
			t.Errorf("member %s: got %s, want %s", name, got, want)
		}
	}
}

func members(t *testing.T, js jetstream.JetStream, key string) map[string]json.RawMessage {
	t.Helper()
	s, err := js.Stream(t.Context(), ledger.Stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), subject(key))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(m.Data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUnreadableEntries(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	ctx := t.Context()
	for value, want := range map[string]string{
		`{"v":2,"w":"x","state":"waiting"}`: "newer Weir",
		`{"v":1,"w":"x"}`:                   "no state",
		`{"v":1,"w":"x","state":"resting"}`: `state "resting" is none that this Weir knows`,
		`{"state":"waiting"}`:               "no format",
		`{"v":1,"state":"wai`:               "unexpected end",
		``:                                  "unexpected end",
	} {
		ack, err := js.Publish(ctx, subject(key(1)), []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		in, revision, err := l.Load(ctx, lane, key(1))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load of %q: got %+v, %d, %v; want an error about %q", value, in, revision, err, want)
		}
		if _, err := l.Store(ctx, intent(1), ack.Sequence); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("store over %q: got %v; want an error about %q", value, err, want)
		}
	}
}

func TestEntriesStaySmall(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	in := intent(1)
	long := strings.Repeat("ü€", 100_000)
	in.Reason, in.Source, in.ID = long, long, long
	in.History = nil
	for n := range 100 {
		in.Waits[fmt.Sprint(n, long)] = n
		in.History = append(in.History, consumer.Transition{N: n, State: consumer.Waiting, By: long, Reason: long})
	}
	if _, err := l.Store(t.Context(), in, 0); err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, m := range members(t, js, key(1)) {
		size += len(m)
	}
	if size > 16<<10 {
		t.Errorf("entry: got %d bytes, want at most 16 KiB", size)
	}
	got, _, err := l.Load(t.Context(), lane, key(1))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.History) != consumer.HistoryLimit || got.History[len(got.History)-1].N != 99 {
		t.Errorf("history: got %d lines up to %+v, want the newest %d", len(got.History), got.History[len(got.History)-1].N, consumer.HistoryLimit)
	}
	if len(got.Waits) != 16 || slices.Min(slices.Collect(maps.Values(got.Waits))) != 84 {
		t.Errorf("waits: got %v, want the 16 causes with the most", got.Waits)
	}
	if !strings.HasPrefix(got.Reason, "ü€ü€") || !strings.HasSuffix(got.Reason, "…") || strings.Contains(got.Reason, "\uFFFD") {
		t.Errorf("reason: got %q, want whole characters and dots", got.Reason)
	}
}

func TestRestartKeepsAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url, stop := start(t, dir, "")
	want, err := open(t, connect(t, url), ledger.Config{}).Store(t.Context(), intent(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	stop()

	url, _ = start(t, dir, "")
	l := open(t, connect(t, url), ledger.Config{})
	got, revision, err := l.Load(t.Context(), lane, key(1))
	if diff := cmp.Diff(intent(1), got); diff != "" || revision != want || err != nil {
		t.Fatalf("load after a restart: got revision %d, %v, want %d (-want +got):\n%s", revision, err, want, diff)
	}
	if _, err := l.Store(t.Context(), intent(1), 0); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("second create after a restart: got %v, want ErrConflict", err)
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	url, _ := start(t, t.TempDir(), "hub")
	l := open(t, connectDomain(t, url, "hub"), ledger.Config{})
	revision, err := l.Store(t.Context(), intent(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := l.Load(t.Context(), lane, key(1)); err != nil || got != revision {
		t.Errorf("load: got %d, %v; want %d", got, err, revision)
	}
}

func TestOpenRefusesAForeignBucket(t *testing.T) {
	t.Parallel()
	url, _ := start(t, t.TempDir(), "")
	js := connect(t, url)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: ledger.Bucket, History: 5, TTL: time.Hour, MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	_, err := ledger.Open(t.Context(), js, ledger.Config{})
	for _, want := range []string{ledger.Stream, "max_msgs_per_subject is 5, must be 1", "max_age is 1h0m0s, must be unlimited", "allow_direct is true, must be false"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open: got %v; want it to say %q", err, want)
		}
	}
}

// Each of these alone loses entries or refuses their updates.
func TestOpenRefusesWhatLosesEntries(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"persist_mode is Async, must be Default":         func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"discard_new_per_subject is true, must be false": func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true },
		"max_msg_size is 64, must be unlimited":          func(c *jetstream.StreamConfig) { c.MaxMsgSize = 64 },
	} {
		url, _ := start(t, t.TempDir(), "")
		js := connect(t, url)
		cfg := jetstream.StreamConfig{
			Name: ledger.Stream, Subjects: []string{"$KV.WEIR_LEDGER.>"}, MaxMsgsPerSubject: 1, MaxBytes: 64 << 20,
			Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, AllowRollup: true, DenyDelete: true,
		}
		change(&cfg)
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatalf("%s: create: %v", want, err)
		}
		if _, err := ledger.Open(t.Context(), js, ledger.Config{MaxBytes: 64 << 20}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open: got %v; want it to say %q", err, want)
		}
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	url, _ := start(t, t.TempDir(), "")
	js := connect(t, url)
	ctx := t.Context()
	l := open(t, js, ledger.Config{MaxBytes: 64 << 10})
	var err error
	stored := 0
	for ; stored < 1000 && err == nil; stored++ {
		_, err = l.Store(ctx, intent(stored), 0)
	}
	if err == nil || errors.Is(err, consumer.ErrConflict) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "maximum bytes") {
		t.Fatalf("store %d in a full ledger: got %v, want a refusal at once that says why", stored, err)
	}
	if _, _, err := l.Load(ctx, lane, key(0)); err != nil {
		t.Errorf("the oldest entry of a full ledger: got %v", err)
	}
	open(t, js, ledger.Config{MaxBytes: 32 << 10})
	if s, err := js.Stream(ctx, ledger.Stream); err != nil || s.CachedInfo().Config.MaxBytes != 64<<10 {
		t.Errorf("a room below what is in use: got %+v, %v; want that the ledger keeps its own", s.CachedInfo().Config.MaxBytes, err)
	}
	l = open(t, js, ledger.Config{MaxBytes: 1 << 20})
	if _, err := l.Store(ctx, intent(stored), 0); err != nil {
		t.Errorf("store after the room was raised: got %v", err)
	}
}

func TestStoreEndsWithItsContext(t *testing.T) {
	t.Parallel()
	url, stop := start(t, t.TempDir(), "")
	l := open(t, connect(t, url), ledger.Config{})
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.Store(ctx, intent(1), 0); err == nil || errors.Is(err, consumer.ErrConflict) {
		t.Errorf("store with the broker gone: got %v, want an error that leaves it unknown", err)
	}
	if _, _, err := l.Load(ctx, lane, key(1)); err == nil {
		t.Error("load with the broker gone: got no error")
	}
	for _, err := range l.Scan(ctx, lane, time.Time{}) {
		if err == nil {
			t.Error("scan with the broker gone: got an entry")
		}
	}
}

// put stores a message without a value, as other clients leave them.
func put(t *testing.T, js jetstream.JetStream, key string, header nats.Header) {
	t.Helper()
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject(key), Header: header}); err != nil {
		t.Fatal(err)
	}
}
