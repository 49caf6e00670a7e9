package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
)

// gated brings up the embedded broker of a directory and its gate, but no lanes.
// The returned function stops it.
func gated(t *testing.T, dir string) (s *service, stop func()) {
	t.Helper()
	yaml := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf(`embedded: {dir: %q}
lanes:
  - name: acme
    provider: oration
    url: http://127.0.0.1:9/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: KEY}}
    limit: 5
    routes:
      - type: lead.created
        request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: "${ data.phone }"}
`, dir)
	if err := os.WriteFile(yaml, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(yaml, func(string) string { return "k" })
	if err != nil {
		t.Fatal(err)
	}
	s, err = startBroker(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var once bool
	stop = func() {
		if once {
			return
		}
		once = true
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	if err := s.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, stop
}

// whyHeld returns why the lane is held; empty if it is not.
func whyHeld(t *testing.T, s *service) string {
	t.Helper()
	gates, err := s.broker.Gates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g := gates["acme"]; g.Held {
		return g.Why
	}
	return ""
}

// The broker may take long to note that a lane is held: until then none of the lanes
// that are to be held goes on.
func TestEachLaneIsHeldHereBeforeTheBrokerIsAsked(t *testing.T) {
	t.Parallel()
	s := &service{lg: zerolog.Nop(), cfg: &config.Config{Accounts: []config.Account{{Lanes: []config.Lane{{Name: "acme"}, {Name: "globex"}}}}}}
	func() {
		defer func() {
			if recover() == nil { // it has none
				t.Error("the broker was not asked")
			}
		}()
		_ = s.hold(t.Context(), []guard.Finding{{Lane: "acme", Text: "lost"}, {Lane: "globex", Text: "lost"}})
	}()
	for _, lane := range s.lanes() {
		if s.holds(lane) == "" {
			t.Errorf("lane %s is not held", lane)
		}
	}
}

// entries writes n large entries in several states, each of which is written two
// or three times.
func entries(t *testing.T, s *service, n int) []consumer.Intent {
	t.Helper()
	var all []consumer.Intent
	for i := range n {
		in := consumer.Intent{Lane: "acme", Key: consumer.Key("acme", "/crm", fmt.Sprint(i)), Digest: "d", Source: "/crm", ID: fmt.Sprint(i)}
		rev := uint64(0)
		steps := []consumer.Step{
			{Kind: consumer.StepClaim, Nonce: "n"},
			{Kind: consumer.StepEvidence, Attempt: 1, Conversation: fmt.Sprint("c", i), Session: consumer.Session{Greeting: strings.Repeat("g", 4000)}},
			{Kind: consumer.StepEnd, Conversation: fmt.Sprint("c", i)},
		}
		if i%5 == 4 {
			steps[1] = consumer.Step{Kind: consumer.StepReject, Attempt: 1, Class: "rejected", Reason: strings.Repeat("r", 300)}
		}
		for _, step := range steps[:1+i%3] {
			next, effect := consumer.Next(in, step, time.Now())
			if effect != consumer.Applied {
				continue
			}
			var err error
			if rev, err = s.ledger.Store(t.Context(), next, rev); err != nil {
				t.Fatal(err)
			}
			in = next
		}
		all = append(all, in)
	}
	return all
}

// unlike returns how many of the entries are not what was stored.
func unlike(t *testing.T, s *service, stored []consumer.Intent) (n int) {
	t.Helper()
	there := make(map[string]consumer.Intent)
	for entry, err := range s.ledger.Scan(t.Context(), "acme", time.Time{}) {
		if err == nil {
			there[entry.Intent.Key] = entry.Intent
		}
	}
	for _, want := range stored {
		if got := there[want.Key]; got.State != want.State || got.N != want.N {
			n++
		}
	}
	return n
}

// copyDir copies a directory as it is.
func copyDir(t *testing.T, from string) (to string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "store")
	err := os.CopyFS(to, os.DirFS(from))
	if err == nil {
		err = os.RemoveAll(filepath.Join(to, "endpoint.json")) // with the address of the one that runs
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// blocks are the files of the ledger's stream.
func blocks(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", ledger.Stream, "msgs", "*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the ledger's files: got %v, %v", files, err)
	}
	return files
}

// TestFault24BitsFlipOrAFileIsCut damages the ledger's files while the broker is
// down, after a kill and after an orderly stop: either the gate holds every lane,
// before anything is claimed, or nothing was lost.
func TestFault24BitsFlipOrAFileIsCut(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, stop := gated(t, dir)
	stored := entries(t, s, 3500)
	killed := copyDir(t, dir) // nothing is written meanwhile: as a kill would leave it
	stop()
	damages := map[string]func(b []byte) []byte{
		"a bit of the first record": func(b []byte) []byte { b[150] ^= 4; return b },
		"a bit in the middle":       func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"a bit of the last record":  func(b []byte) []byte { b[len(b)-100] ^= 4; return b },
		"cut in the middle":         func(b []byte) []byte { return b[:len(b)/2] },
		"the last record cut":       func(b []byte) []byte { return b[:len(b)-10] },
		"empty":                     func([]byte) []byte { return nil },
	}
	for how, source := range map[string]string{"killed": killed, "stopped": dir} {
		if n := len(blocks(t, source)); n < 2 {
			t.Fatalf("got %d files, want several", n)
		}
		for what, damage := range damages {
			for place := range 2 {
				if how == "stopped" && place == 0 {
					continue // a broker that knows how many there were searches long for them
				}
				t.Run(fmt.Sprintf("%s/%s/%d", how, what, place), func(t *testing.T) {
					t.Parallel()
					dir := copyDir(t, source)
					files := blocks(t, dir)
					path := files[place*(len(files)-1)]
					data, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, damage(data), 0o600); err != nil {
						t.Fatal(err)
					}
					s, stop := gated(t, dir)
					why, lost := whyHeld(t, s), unlike(t, s, stored)
					if why == "" && lost > 0 {
						t.Errorf("%d of %d entries are not what was stored, and the lane is not held", lost, len(stored))
					}
					if why != "" && lost == 0 {
						t.Errorf("nothing was lost, and the lane is held: %s", why)
					}
					stop()
					s, stop = gated(t, dir)
					if again := whyHeld(t, s); again != why {
						t.Errorf("after another start: held because of %q, want %q", again, why)
					}
					if err := s.broker.Release(t.Context(), "acme", time.Now(), "ana", "looked"); err != nil {
						t.Fatal(err)
					}
					stop()
					if s, _ = gated(t, dir); whyHeld(t, s) != "" {
						t.Errorf("after the release and another start: held because of %q", whyHeld(t, s))
					}
				})
			}
		}
	}
}

// TestFault25TheLedgerIsDeletedPurgedOrMadeAnew does so while weir is down, with
// the mark in the broker alone and with the one beside the store alone.
func TestFault25TheLedgerIsDeletedPurgedOrMadeAnew(t *testing.T) {
	t.Parallel()
	hands := map[string]struct {
		do   func(ctx context.Context, js jetstream.JetStream, st jetstream.Stream) error
		want string
	}{
		"deleted": {func(ctx context.Context, js jetstream.JetStream, _ jetstream.Stream) error {
			return js.DeleteStream(ctx, ledger.Stream)
		}, "was made anew"},
		"purged": {func(ctx context.Context, _ jetstream.JetStream, st jetstream.Stream) error {
			return st.Purge(ctx)
		}, "entries"},
		"one key purged": {func(ctx context.Context, _ jetstream.JetStream, st jetstream.Stream) error {
			return st.Purge(ctx, jetstream.WithPurgeSubject("$KV.WEIR_LEDGER.acme."+consumer.Key("acme", "/crm", "7")))
		}, "entries"},
		"made anew": {func(ctx context.Context, js jetstream.JetStream, st jetstream.Stream) error {
			cfg := st.CachedInfo().Config
			if err := js.DeleteStream(ctx, ledger.Stream); err != nil {
				return err
			}
			_, err := js.CreateStream(ctx, cfg)
			return err
		}, "was made anew"},
	}
	for name, hand := range hands {
		for _, file := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/file=%v", name, file), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "store")
				s, stop := gated(t, dir)
				entries(t, s, 20)
				if err := s.guard.Accept(t.Context()); err != nil { // as Run does each second
					t.Fatal(err)
				}
				js := s.broker.JetStream()
				st, err := js.Stream(t.Context(), ledger.Stream)
				if err == nil {
					err = hand.do(t.Context(), js, st)
				}
				if err != nil {
					t.Fatal(err)
				}
				stop()
				if !file {
					if err := os.Remove(filepath.Join(dir, markFile)); err != nil {
						t.Fatal(err)
					}
				}
				s, _ = gated(t, dir)
				if why := whyHeld(t, s); !strings.Contains(why, ledger.Stream) || !strings.Contains(why, hand.want) {
					t.Errorf("held because of %q, want the ledger and %q", why, hand.want)
				}
			})
		}
	}
}

// What is lost while weir runs is noticed as well.
func TestFault25TheLedgerIsPurgedUnderARunningWeir(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	child(t, k.env, "serve", "-c", k.yaml)
	k.awaitStreams(t, b)
	k.publish(t, b, 5)
	k.settle(t, b)
	await(t, patience, "the mark to follow", func() bool {
		data, _, err := b.Mark(t.Context())
		st, err2 := b.JetStream().Stream(t.Context(), ledger.Stream)
		return err == nil && err2 == nil && strings.Contains(string(data), fmt.Sprintf(`"last":%d,"entries":%d`, st.CachedInfo().State.LastSeq, st.CachedInfo().State.Msgs))
	})
	st, err := b.JetStream().Stream(t.Context(), ledger.Stream)
	if err == nil {
		err = st.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the lane to be held", func() bool {
		stdout, _, err := weir(t.Context(), k.env, "lanes", "-c", k.yaml, "--output", "json")
		return err == nil && strings.Contains(stdout, `"held"`)
	})
	calls := len(k.sim.Conversations())
	publishOnceMore(t, b, k.keys)
	if _, _, err := weir(t.Context(), k.env, "lane", "resume", "--all", "--by", "ana", "-c", k.yaml); err != nil {
		t.Errorf("resume: %v", err)
	}
	stdout, _, err := weir(t.Context(), k.env, "check", "-c", k.yaml)
	if err == nil || !strings.Contains(stdout, ledger.Stream) || !strings.Contains(stdout, "weir release") {
		t.Errorf("weir check: got %v, and:\n%s\nwant the stream and what to do", err, stdout)
	}
	stdout, _, _ = weir(t.Context(), k.env, "lanes", "-c", k.yaml)
	contains(t, stdout, "held", ledger.Stream, "weir release")
	stand(t, time.Second)
	if got := len(k.sim.Conversations()); got != calls {
		t.Errorf("%d more calls, want none", got-calls)
	}
}

// publishOnceMore gives the first leads again, one for each key, as a CRM does after
// a restore: with the time at which they were born, but no sooner than now in
// the stream.
func publishOnceMore(t *testing.T, b *broker.Broker, keys []string, attributes ...string) {
	t.Helper()
	for i := range keys {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"lead-%d","source":"/crm","type":"lead.created",%s"datacontenttype":"application/json","data":{"id":%d,"phone":"+1415555%04d"}}`,
			i, strings.Join(attributes, ""), i, i)
		if _, err := b.PublishEvent(t.Context(), "acme", map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(body), ""); err != nil {
			t.Fatal(err)
		}
	}
}

// A gate that trips without need stops every lane: none of these is a loss.
func TestH19NoFalseAlarm(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, stop := gated(t, dir)
	if why := whyHeld(t, s); why != "" {
		t.Fatalf("a first start: held because of %q", why)
	}
	stored := entries(t, s, 10)
	stale, err := os.ReadFile(filepath.Join(dir, markFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.guard.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	t.Run("an older file", func(t *testing.T) {
		dir := copyDir(t, dir)
		if err := os.WriteFile(filepath.Join(dir, markFile), stale, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, _ := gated(t, dir); whyHeld(t, s) != "" {
			t.Errorf("held because of %q", whyHeld(t, s))
		}
	})
	t.Run("no file", func(t *testing.T) {
		dir := copyDir(t, dir)
		if err := os.Remove(filepath.Join(dir, markFile)); err != nil {
			t.Fatal(err)
		}
		if s, _ := gated(t, dir); whyHeld(t, s) != "" {
			t.Errorf("held because of %q", whyHeld(t, s))
		}
	})
	t.Run("a torn file", func(t *testing.T) {
		dir := copyDir(t, dir)
		if err := os.WriteFile(filepath.Join(dir, markFile), stale[:5000], 0o600); err != nil {
			t.Fatal(err)
		}
		if s, _ := gated(t, dir); whyHeld(t, s) != "" {
			t.Errorf("held because of %q", whyHeld(t, s))
		}
	})
	t.Run("streams of a Weir that kept no mark", func(t *testing.T) {
		dir := copyDir(t, dir)
		if err := os.Remove(filepath.Join(dir, markFile)); err != nil {
			t.Fatal(err)
		}
		s, stop := gated(t, dir)
		st, err := s.broker.JetStream().Stream(t.Context(), broker.StreamLanes)
		if err == nil {
			err = st.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.WEIR_LANES.mark"))
		}
		if err == nil {
			err = os.Remove(filepath.Join(dir, markFile))
		}
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if s, _ := gated(t, dir); whyHeld(t, s) != "" || unlike(t, s, stored) > 0 {
			t.Errorf("held because of %q", whyHeld(t, s))
		}
	})
}
