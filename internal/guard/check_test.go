package guard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// restless is the broker of a site whose ledger others write while it is read: when a
// consumer was made, and before the leader is asked. It counts one entry more than can
// be read.
type restless struct {
	jetstream.JetStream
	began, asked func()
}

func (b restless) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := b.JetStream.Stream(ctx, name)
	if err == nil && name == "KV_L" {
		s = restlessStream{s, b}
	}
	return s, err
}

type restlessStream struct {
	jetstream.Stream
	b restless
}

func (s restlessStream) CachedInfo() *jetstream.StreamInfo {
	info := *s.Stream.CachedInfo()
	info.State.Msgs++
	info.State.NumSubjects++
	return &info
}

func (s restlessStream) CreateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c, err := s.Stream.CreateConsumer(ctx, cfg)
	s.b.began()
	return c, err
}

func (s restlessStream) GetMsg(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	s.b.asked()
	return s.Stream.GetMsg(ctx, sequence, opts...)
}

// What others write while the ledger is read, anew or for the first time, does not stand
// for an entry that cannot be read, and whatever they write the reading ends.
func TestWhatIsWrittenMeanwhileHidesNoLoss(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		anew, asked bool // entries are written anew; when the leader is asked
		most        int  // writes
		hidden      bool
	}{
		"written anew":                    {anew: true, most: 15},
		"written anew at the end":         {anew: true, asked: true, most: 15},
		"new entries":                     {most: countRounds - 2},
		"new entries at each look at all": {most: 1000, hidden: true},
	} {
		for by, look := range map[string]func(*Guard) ([]Finding, error){
			"a start": func(g *Guard) ([]Finding, error) { return g.readable(t.Context()) },
			"a scrub": func(g *Guard) ([]Finding, error) {
				_, found, err := g.entries(t.Context(), time.Microsecond)
				return found, err
			},
		} {
			t.Run(by+", "+name, func(t *testing.T) {
				t.Parallel()
				s, n := newSite(t, 20), 0
				write := func() {
					if n++; n > tc.most {
						return
					}
					key := n
					if !tc.anew {
						key += 100
					}
					s.fill(key, 1, 100)
				}
				b := restless{s.js, func() {}, func() {}}
				if tc.asked {
					b.asked = write
				} else {
					b.began = write
				}
				g, err := Open(t.Context(), zerolog.Nop(), s, Config{Ledger: "KV_L", Events: "E", Outcomes: "O", Shelf: "S"})
				if err != nil {
					t.Fatal(err)
				}
				s.js = b
				found, err := look(g)
				if hidden := !strings.Contains(fmt.Sprint(found), "of which only"); err != nil || hidden != tc.hidden || n >= 1000 {
					t.Errorf("got %v, %v after %d writes; want the entry that cannot be read: %v", found, err, n, !tc.hidden)
				}
			})
		}
	}
}

// A scrub leaves the broker to others between two portions.
func TestAScrubPauses(t *testing.T) {
	t.Parallel()
	s := newSite(t, readBatch+1)
	g, err := Open(t.Context(), zerolog.Nop(), s, Config{Ledger: "KV_L", Events: "E", Outcomes: "O", Shelf: "S"})
	if err != nil {
		t.Fatal(err)
	}
	const pause = 300 * time.Millisecond
	began := time.Now()
	if _, found, err := g.entries(t.Context(), pause); err != nil || len(found) > 0 || time.Since(began) < pause {
		t.Errorf("got %v, %v after %v; want nothing, after %v", found, err, time.Since(began), pause)
	}
}

// An entry counts once, whether it comes again before its number was asked for or after.
func TestATallyCountsAnEntryOnce(t *testing.T) {
	t.Parallel()
	for name, tally := range map[string]tally{
		"sums": newSums(2),
		"keys": &keysRead{removed: func(nats.Header) bool { return false }, known: make(ids), others: make(map[string]bool)},
	} {
		for i, want := range []uint64{3, 3, 5} {
			for _, subject := range [][]string{{"c", "a", uuid.NameSpaceOID.String(), "a"}, {"a", "c", "c"}, {"e", "a", "d", "e"}}[i] {
				tally.add(message{subject: subject})
			}
			for range 2 {
				if got := tally.entries(); got != want {
					t.Errorf("%s, %d: got %d, want %d", name, i, got, want)
				}
			}
		}
	}
}
