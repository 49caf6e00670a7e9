package main

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/owner"
)

// A lane is held, or released, while its new owner reads the switches: what it has
// read is older, and does not undo that.
func TestANewOwnerObeysWhatComesWhileItReads(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		read func(b *broker.Broker) error
		told broker.Gate
		want string
	}{
		"held": {
			read: func(b *broker.Broker) error { return b.Release(t.Context(), "acme", time.Time{}, "ana", "looked") },
			told: broker.Gate{Held: true, Why: "part of it is missing"}, want: "held",
		},
		"released": {
			read: func(b *broker.Broker) error { return b.Hold(t.Context(), "acme", "part of it is missing") },
			want: "running",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
			if err := tt.read(s.broker); err != nil {
				t.Fatal(err)
			}
			if err := s.arm(); err != nil {
				t.Fatal(err)
			}
			ac := s.cfg.Accounts[0]
			account, err := s.account(t.Context(), ac)
			if err != nil {
				t.Fatal(err)
			}
			engine, err := consumer.New(s.lg, consumer.Config{
				Ledger: s.ledger, Outbox: s.broker, Switch: s.broker, Catalog: s.cfg.Catalog,
				Fence: func() error { return nil }, Accounts: []consumer.AccountConfig{account},
			})
			if err != nil {
				t.Fatal(err)
			}
			s.hire(ac, engine)
			obeyed := make(chan struct{})
			s.atSwitch = func() {
				go func() {
					s.setGate("acme", tt.told)
					close(obeyed)
				}()
				select {
				case <-obeyed: // too soon
				case <-time.After(200 * time.Millisecond):
				}
			}
			if known, err := s.switches(t.Context(), engine); err != nil || !known {
				t.Fatalf("got %v, %v", known, err)
			}
			within(t, patience, "what was told meanwhile to be obeyed", obeyed)
			if got := s.status(t.Context(), "acme"); (got.State == "held") != (tt.want == "held") {
				t.Errorf("got %s, want %s", got.State, tt.want)
			}
		})
	}
}

// One replica saw that the ledger has lost entries, and held the lanes. When a
// person has released them, another one, which wrote more before, takes the ledger
// as it is: it does not hold them once more.
func TestALossIsSaidOnceByAllReplicas(t *testing.T) {
	t.Parallel()
	s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
	s.dismiss() // another one looks after the state
	entries(t, s, 5)
	js := s.broker.JetStream()
	st, err := js.Stream(t.Context(), ledger.Stream)
	if err == nil {
		err = js.DeleteStream(t.Context(), ledger.Stream)
	}
	if err == nil {
		_, err = js.CreateStream(t.Context(), st.CachedInfo().Config)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.setGate("acme", broker.Gate{Held: true, Since: time.Now(), Why: "the ledger has lost entries"})
	s.setGate("acme", broker.Gate{Before: time.Now()})
	in, _ := consumer.Next(consumer.Intent{Lane: "acme", Key: consumer.Key("acme", "/crm", "new"), Digest: "d"}, consumer.Step{Kind: consumer.StepClaim, Nonce: "n"}, time.Now())
	if _, err := s.ledger.Store(t.Context(), in, 0); err != nil || len(s.lost) > 0 {
		t.Errorf("the first write after the release: got %v, and %d findings", err, len(s.lost))
	}
}

// Whoever looks after the state does so for the lanes that only another replica's
// file has, too: there is nobody else who does.
func TestTheStateOfLanesInOtherFilesIsLookedAfter(t *testing.T) {
	t.Parallel()
	s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
	ctx := t.Context()
	queues, err := s.broker.Lane(ctx, "other")
	if err != nil {
		t.Fatal(err)
	}
	key := consumer.Key("other", "/crm", "1")
	due := "weir.due.other." + key
	for subject, q := range map[string]consumer.Queue{due: queues.Due, "weir.events.other": queues.Events} {
		body := `{"specversion":"1.0","id":"1","source":"/crm","type":"lead.created","data":{"phone":"+14155550000"}}`
		_, err := s.broker.JetStream().Publish(ctx, subject, []byte(body))
		var got []consumer.Message
		for err == nil && len(got) == 0 {
			got, err = q.Fetch(1, 5*time.Second)
		}
		if err == nil {
			err = got[0].Ack(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.trimAll(ctx); err != nil {
		t.Fatal(err)
	}
	st, err := s.broker.JetStream().Stream(ctx, broker.StreamLater)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := st.Info(ctx, jetstream.WithSubjectFilter(due)); err != nil || len(info.State.Subjects) > 0 {
		t.Errorf("what is done was not removed: %v, %v", info.State.Subjects, err)
	}
	s.dismiss()
	if err := s.pass(ctx); err != nil { // its event is done, and has no entry
		t.Fatal(err)
	}
	if gates, err := s.broker.Gates(ctx); err != nil || !gates["other"].Held || gates["acme"].Held {
		t.Errorf("got %v, %v; want the other lane held", gates, err)
	}
}

// busy is a broker whose ledger gets a new entry whenever it is read: other
// replicas go on while the state is compared.
type busy struct {
	*broker.Broker
	write func()
}

func (b *busy) JetStream() jetstream.JetStream { return busyJetStream{b.Broker.JetStream(), b.write} }

type busyJetStream struct {
	jetstream.JetStream
	write func()
}

func (b busyJetStream) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := b.JetStream.Stream(ctx, name)
	if name == ledger.Stream && err == nil {
		s = busyStream{s, b.write}
	}
	return s, err
}

type busyStream struct {
	jetstream.Stream
	write func()
}

func (b busyStream) GetMsg(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	b.write()
	return b.Stream.GetMsg(ctx, sequence, opts...)
}

// However much the other replicas write, whoever begins to look after the state
// comes to an end with comparing it.
func TestTheStateIsComparedWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
	ended(t, s, 0, 20)
	if err := s.guard.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg, err := s.guarded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg.File = ""
	const most = 500
	n := 0
	g, err := guard.Open(t.Context(), s.lg, &busy{s.broker, func() {
		if n++; n < most {
			ended(t, s, 20+n, 1)
		}
	}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := g.Check(t.Context()); err != nil || len(found) > 0 || n >= most {
		t.Errorf("got %v, %v after %d writes of others; want nothing, soon", found, err, n)
	}
}

// A replica that looked after the state stood still, and another one removed what
// is old meanwhile. When the first one wakes up that looks like a loss to it, and
// holds nothing: it does not look after the state any more.
func TestH12AKeeperThatWakesUpHoldsNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		held error
		want bool
	}{"another one's": {owner.ErrTaken, false}, "still its own": {nil, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
			s.dismiss()
			ended(t, s, 0, 10)
			cfg, err := s.guarded(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			cfg.File, cfg.Every = "", 10*time.Millisecond
			var guards [2]*guard.Guard // one after the other
			for i := range guards {
				if guards[i], err = guard.Open(t.Context(), s.lg, s.broker, cfg); err == nil {
					err = guards[i].Accept(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if n, err := s.ledger.Prune(t.Context(), "acme", time.Now().Add(time.Minute), guards[1].Remove); err != nil || n != 9 {
				t.Fatalf("got %d removed, %v", n, err)
			}
			hold, seen := s.holdWhile(func() error { return tt.held }), make(chan struct{})
			var once sync.Once
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan struct{})
			go func() {
				defer close(ran)
				_ = guards[0].Run(ctx, func(ctx context.Context, found []guard.Finding) error {
					defer once.Do(func() { close(seen) })
					return hold(ctx, found)
				})
			}()
			within(t, patience, "the loss that is none to be seen", seen)
			cancel()
			within(t, patience, "the guard to end", ran)
			if got := whyHeld(t, s) != ""; got != tt.want {
				t.Errorf("held: got %v, want %v", got, tt.want)
			}
		})
	}
}
