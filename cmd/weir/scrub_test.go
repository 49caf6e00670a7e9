package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
)

// deed is what a lane does with an event: its entry, its outcome and its
// acknowledgement.
func deed(t *testing.T, s *service, q consumer.Queue, id string) (key string) {
	t.Helper()
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"phone":"+14155550000"}}`, id)
	key = consumer.Key("acme", "/crm", id)
	_, err := s.broker.PublishEvent(t.Context(), "acme", map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(body), id)
	if err == nil {
		in := consumer.Intent{Lane: "acme", Key: key, Digest: "d"}
		in, _ = consumer.Next(in, consumer.Step{Kind: consumer.StepClaim, Nonce: "n"}, time.Now())
		_, err = s.ledger.Store(t.Context(), in, 0)
	}
	if err == nil {
		outcome := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/weir/acme","type":"weir.conversation.created","time":%q,"datacontenttype":"application/json","data":{"intent":%q,"claims":1,"attempts":0}}`,
			id, time.Now().UTC().Format(time.RFC3339), key)
		_, err = s.broker.JetStream().Publish(t.Context(), "weir.outcomes.acme.created", []byte(outcome))
	}
	var got []consumer.Message
	for err == nil && len(got) == 0 {
		got, err = q.Fetch(1, 5*time.Second)
	}
	if err == nil {
		err = got[0].Ack(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestH19TheOtherStreamsAreWitnesses takes entries out of the ledger in a way that
// the mark does not show: the outcomes and the events tell of them, at the start
// as far as they are newer than the mark, and to the scrub however old they are.
func TestH19TheOtherStreamsAreWitnesses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		since bool // the mark is older than the deed
		lose  func(t *testing.T, s *service, key string)
		start bool // noticed at the start
	}{
		"removed by hand, before the mark": {lose: remove},
		"removed by hand, after the mark":  {since: true, lose: remove, start: true},
		"nothing lost":                     {since: true, lose: nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			s, stop := gated(t, dir)
			qs, err := s.broker.Lane(t.Context(), "acme")
			if err != nil {
				t.Fatal(err)
			}
			deed(t, s, qs.Events, "first")
			if err := s.guard.Accept(t.Context()); err != nil {
				t.Fatal(err)
			}
			key := deed(t, s, qs.Events, "second")
			if !tc.since {
				if err := s.guard.Accept(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if tc.lose != nil {
				tc.lose(t, s, key)
			}
			found, err := s.guard.Scrub(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var streams []string
			for _, f := range found {
				streams = append(streams, f.Stream+" of "+f.Lane)
			}
			got, want := strings.Join(streams, ", "), ""
			if tc.lose != nil {
				want = broker.StreamOutcomes + " of acme, " + broker.StreamEvents + " of acme"
			}
			if got != want {
				t.Errorf("the scrub found %q, want %q", got, want)
			}
			if tc.lose != nil && !strings.Contains(found[0].Text, "sequences 2") {
				t.Errorf("got %q, want the sequence", found[0].Text)
			}
			stop()
			s, _ = gated(t, dir)
			if why := whyHeld(t, s); (why != "") != tc.start {
				t.Errorf("at the next start: held because of %q, want held: %v", why, tc.start)
			}
		})
	}
}

// remove marks an entry as removed, as a person with a tool for buckets would.
func remove(t *testing.T, s *service, key string) {
	t.Helper()
	kv, err := s.broker.JetStream().KeyValue(t.Context(), ledger.Bucket)
	if err == nil {
		err = kv.Delete(t.Context(), "acme."+key)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The stream that holds pauses, holds and the mark is lost: the file knows.
func TestFault25TheMarkInTheBrokerIsGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, stop := gated(t, dir)
	entries(t, s, 3)
	if err := s.broker.JetStream().DeleteStream(t.Context(), broker.StreamLanes); err != nil {
		t.Fatal(err)
	}
	stop()
	if s, _ = gated(t, dir); !strings.Contains(whyHeld(t, s), broker.StreamLanes) {
		t.Errorf("held because of %q, want the stream of the mark", whyHeld(t, s))
	}
}
