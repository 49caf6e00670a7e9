package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// sealing is a broker of one's own that can be started anew, and the state keepers of
// weirs that come and go.
type sealing struct {
	t   *testing.T
	dir string
	e   *broker.Embedded
	cfg *config.Config
}

func newSealing(t *testing.T) *sealing {
	t.Helper()
	r := &sealing{t: t, dir: filepath.Join(t.TempDir(), "store")}
	r.start()
	t.Cleanup(func() { _ = r.e.Shutdown() })
	k := newKilled(t, fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}}\n", r.e.URL()), r.e.Token().Reveal(), simulator.Faults{})
	var err error
	if r.cfg, err = config.Load(k.yaml, func(name string) string { return k.env[name] }); err != nil {
		t.Fatal(err)
	}
	return r
}

// start starts the broker, where and as it was before.
func (r *sealing) start() {
	r.t.Helper()
	listen := gatewayPort(r.t)
	if r.e != nil {
		listen = r.e.URL()[len("nats://"):]
	}
	var err error
	if r.e, err = broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: r.dir, Listen: listen}); err != nil {
		r.t.Fatal(err)
	}
}

// up starts a weir as far as its gate.
func (r *sealing) up() *service {
	r.t.Helper()
	s, err := startBroker(r.t.Context(), zerolog.Nop(), r.cfg)
	if err == nil {
		err = s.pass(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// keep lets it look after the state, and returns what ends it.
func (r *sealing) keep(s *service) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	hold := func(_ context.Context, found []guard.Finding) error {
		r.t.Errorf("found %v", found)
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.scrub(ctx, hold) })
	wg.Go(func() { _ = s.guard.Run(ctx, hold) })
	return func() {
		cancel()
		wg.Wait()
		if err := s.close(); err != nil {
			r.t.Error(err)
		}
	}
}

// A weir that starts on a broker which has had the ledger open since it was read in
// full begins without reading it, and reads it while its lanes work.
func TestASealedLedgerIsReadAfterTheStart(t *testing.T) {
	t.Parallel()
	r := newSealing(t)
	s := r.up()
	if s.guard.Unread() {
		t.Error("the first start: read nothing")
	}
	entries(t, s, 20)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = r.up()
	if !s.guard.Unread() {
		t.Error("the next start: read everything")
	}
	defer r.keep(s)()
	await(t, patience, "the ledger to be read", func() bool { return !s.guard.Unread() })
}

// A broker that is started anew under a running weir has its ledger read soon, and so
// the weir after that one need not.
func TestABrokerThatIsStartedAnewIsReadSoon(t *testing.T) {
	t.Parallel()
	r := newSealing(t)
	s := r.up()
	s.scrubLook = 20 * time.Millisecond
	entries(t, s, 20)
	stop := r.keep(s)
	if err := r.e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	r.start()
	await(t, patience, "the mark to tell of the new seal", func() bool {
		st, err := s.broker.JetStream().Stream(t.Context(), ledger.Stream)
		if err != nil {
			return false
		}
		c, err := st.Consumer(t.Context(), "weir_seal")
		if err != nil {
			return false
		}
		data, _, err := s.broker.Mark(t.Context())
		return err == nil && marks(data, c.CachedInfo().Created)
	})
	stop()
	s = r.up()
	if !s.guard.Unread() {
		t.Error("the next start: read everything")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// marks reports whether a mark tells of a seal of that moment.
func marks(mark []byte, made time.Time) bool {
	var m struct{ Seal struct{ Created time.Time } }
	return json.Unmarshal(mark, &m) == nil && m.Seal.Created.Equal(made)
}

// The reading that a start left out is tried again soon, if it did not come to its end,
// and so is what it found, if the lanes could not be held for it.
func TestAReadingThatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newSealing(t)
	s := r.up()
	entries(t, s, 20)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = r.up()
	if !s.guard.Unread() {
		t.Fatal("the next start: read everything")
	}
	s.scrubLook = 10 * time.Millisecond
	js := s.broker.JetStream()
	out := consumer.OutcomeData{Intent: consumer.Key("acme", "/crm", "lost")} // a call that the ledger knows nothing of
	data, err := json.Marshal(map[string]any{"data": out})
	if err == nil {
		_, err = js.Publish(t.Context(), "weir.outcomes.acme."+string(consumer.Created), data)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan []guard.Finding)
	fails := 2
	var wg sync.WaitGroup
	wg.Go(func() {
		s.scrub(ctx, func(_ context.Context, found []guard.Finding) error {
			if fails--; fails >= 0 {
				return errors.New("the broker is away")
			}
			select {
			case held <- found:
			case <-ctx.Done():
			}
			return nil
		})
	})
	select {
	case <-held:
	case <-time.After(patience):
		t.Error("the lanes are not held")
	}
	cancel()
	wg.Wait()
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
