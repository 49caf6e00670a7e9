package simulator_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// TestKnownIDBringsTheOldConversation sends one id with another body: nothing
// is made, no slot taken, and the answer is about the first.
func TestKnownIDBringsTheOldConversation(t *testing.T) {
	t.Parallel()
	for replay, wantStatuses := range map[string]map[int]bool{
		simulator.ReplayOK: {200: true}, simulator.ReplayOriginal: {202: true}, "": {200: true, 202: true},
	} {
		t.Run(replay, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Limit: 2, Replay: replay, Seed: 1, Log: &log})
			book(t, url, with(dial(1), object{"id": callID}))
			before := sim.Conversations()
			statuses := map[int]bool{}
			for i := range 12 {
				got := book(t, url, with(text("other"), object{"id": callID, "custom_metadata": dial(50 + i)["custom_metadata"]}))
				statuses[got.status] = true
				conv := conversationIn(t, got.body)
				if conv["id"] != callID || conv["channel"] != "telephone" || conv["user_id"] != "+14155550001" {
					t.Errorf("got %s, want the first conversation", got.body)
				}
				if diff := cmp.Diff(any(object{"weir_intent": "intent-1", "weir_attempt": 1.0}), conv["custom_metadata"]); diff != "" {
					t.Errorf("metadata (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(wantStatuses, statuses); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, sim.Conversations()); diff != "" {
				t.Errorf("conversations (-before +after):\n%s", diff)
			}
			if r := sim.Report(); r.Live != 1 || r.QueuedMost != 0 || len(r.Doubled) != 0 || log.count(`"made"`) != 1 {
				t.Errorf("got %+v and %d lines, want one call and one line", r, log.count(`"made"`))
			}
		})
	}
}

func TestKnownIDOfOtherChannels(t *testing.T) {
	t.Parallel()
	sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Replay: simulator.ReplayOriginal, TextLimit: 1})
	first := book(t, url, with(text("u"), object{"id": callID}))
	again := book(t, url, with(dial(1), object{"id": callID})) // although no session is free
	if again.status != 200 || decode[object](t, again.body)["starting_message"] == nil {
		t.Errorf("got %d %s, want 200 with the greeting of the text session", again.status, again.body)
	}
	if diff := cmp.Diff(conversationIn(t, first.body), conversationIn(t, again.body)); diff != "" {
		t.Errorf("conversation (-first +again):\n%s", diff)
	}
	if bad := book(t, url, object{"id": callID}); bad.status != 422 {
		t.Errorf("got %d for a bad request with a known id, want 422", bad.status)
	}
	if got := len(sim.Conversations()); got != 1 {
		t.Errorf("got %d conversations, want 1", got)
	}
}

func TestWithoutAnIDNothingIsIdempotent(t *testing.T) {
	t.Parallel()
	sim, url := newAnyreachServer(t, simulator.AnyreachConfig{})
	book(t, url, dial(1))
	book(t, url, dial(1))
	all := sim.Conversations()
	if len(all) != 2 || all[0].ID == all[1].ID || all[0].ClientID != "" {
		t.Errorf("got %+v, want two with ids of their own", all)
	}
	if diff := cmp.Diff(map[string]int{"intent-1": 2}, sim.Report().Doubled); diff != "" {
		t.Errorf("doubled (-want +got):\n%s", diff)
	}
}

// TestHiddenCallIsMadeTwice shows the race that the provider's documents do not
// exclude: until a call is visible its id is unknown.
func TestHiddenCallIsMadeTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const after = 20 * time.Second
		var log bytes.Buffer
		// The time until a call is seen is not scaled: it is over by then.
		sim := newAnyreach(t, simulator.AnyreachConfig{VisibleAfter: after, Scale: 1000, Replay: simulator.ReplayOK, Log: &log})
		h := sim.Handler()
		look := func() int { return serve(t, h, "GET", "/core/conversations/"+callID, nil).Code }
		wish := with(dial(1), object{"id": callID})
		first := ask(t, h, wish)
		if got := look(); got != 404 {
			t.Errorf("got %d for a hidden call, want 404", got)
		}
		time.Sleep(time.Second)
		second := ask(t, h, wish)
		for _, w := range []*bytes.Buffer{first.Body, second.Body} {
			if id := conversationIn(t, w.Bytes())["id"]; id != callID {
				t.Errorf("got an answer about %v, want %s", id, callID)
			}
		}
		all := sim.Conversations()
		if len(all) != 2 || all[0].ID != callID || all[1].ID == callID || all[1].ClientID != callID {
			t.Fatalf("got %+v, want a second call with an id of its own", all)
		}
		if diff := cmp.Diff(map[string]int{"intent-1": 2}, sim.Report().Doubled); diff != "" {
			t.Errorf("doubled (-want +got):\n%s", diff)
		}
		if got := listed(t, h, 10); len(got) != 0 {
			t.Errorf("got %d listed while hidden, want none", len(got))
		}
		time.Sleep(time.Until(all[0].Created.Add(after)) - time.Microsecond)
		if got := look(); got != 404 {
			t.Errorf("got %d just before it is visible, want 404", got)
		}
		time.Sleep(time.Until(all[0].Created.Add(after)))
		if got := look(); got != 200 {
			t.Errorf("got %d when it is visible, want 200", got)
		}
		if third := ask(t, h, wish); third.Code != http.StatusOK || len(sim.Conversations()) != 2 {
			t.Errorf("got %d and %d calls after a third request, want the old one", third.Code, len(sim.Conversations()))
		}
		if got := listed(t, h, 10); len(got) != 1 || got[0]["id"] != callID {
			t.Errorf("got %v listed, want the first alone", got)
		}
		time.Sleep(time.Second)
		if got := listed(t, h, 10); len(got) != 2 || got[0]["id"] != all[1].ID {
			t.Errorf("got %v listed, want both, the second first", got)
		}
		checkLog(t, log.Bytes(), sim.Conversations())
	})
}

func TestOnlySomeCallsAreHidden(t *testing.T) {
	t.Parallel()
	sim, url := newAnyreachServer(t, simulator.AnyreachConfig{VisibleAfter: time.Hour, VisibleShare: 0.5, Seed: 4, Limit: 60, Global: 60})
	hidden := 0
	for i := range 60 {
		book(t, url, dial(i))
	}
	for _, c := range sim.Conversations() {
		if get(t, url+"/core/conversations/"+c.ID).status == 404 {
			hidden++
		}
	}
	// The deviation is sqrt(60*0.5*0.5) = 3.9; the bounds are 4 of them.
	if hidden < 15 || hidden > 45 {
		t.Errorf("got %d of 60 calls hidden, want about 30", hidden)
	}
	for i := range 20 {
		book(t, url, text(fmt.Sprint(i)))
	}
	for _, c := range sim.Conversations()[60:] {
		if got := get(t, url+"/core/conversations/"+c.ID).status; got != 200 {
			t.Errorf("got %d for a text session, want 200: only calls are hidden", got)
		}
	}
}
