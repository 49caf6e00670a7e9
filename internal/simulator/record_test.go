package simulator_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

func TestAnyreachRecord(t *testing.T) {
	t.Parallel()
	safe := []string{
		"agent", "agent_id", "agent_number", "agent_version_id", "channel", "created_at", "direction", "duration", "id",
		"initial_context", "organization_id", "status", "updated_at", "user_id", "user_turn_count", "web_widget_id",
	}
	full := slices.Sorted(slices.Values(append([]string{"conversation", "custom_metadata", "recording_details", "summary"}, safe...)))
	for columns, keys := range map[string][]string{simulator.ColumnsFull: full, simulator.ColumnsSafe: safe} {
		t.Run(columns, func(t *testing.T) {
			t.Parallel()
			auth := simulator.AnyreachAuth{Organization: "org_7"}
			sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Columns: columns, Auth: auth, Accepted: simulator.AcceptedBare})
			wish := with(dial(1), object{"id": callID, "initial_context": "VIP", "agent_number": "+14155550222"})
			created := decode[object](t, book(t, url, wish).body)
			found := decode[object](t, get(t, url+"/core/conversations/"+strings.ToUpper(callID)).body)
			listed := decode[[]object](t, get(t, url+"/core/conversations").body)
			if len(listed) != 1 {
				t.Fatalf("got %d listed, want 1", len(listed))
			}
			stamp := sim.Conversations()[0].Created.Truncate(time.Second).Format(time.RFC3339)
			wants := object{
				"id": callID, "organization_id": "org_7", "direction": "outbound", "channel": "telephone",
				"user_id": "+14155550001", "agent_id": "ag_1", "agent_number": "+14155550222", "initial_context": "VIP",
				"duration": nil, "user_turn_count": nil, "web_widget_id": nil, "created_at": stamp,
			}
			for where, got := range map[string]object{"create": created, "lookup": found, "list": listed[0]} {
				if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(got))); diff != "" {
					t.Errorf("%s: keys (-want +got):\n%s", where, diff)
				}
				for key, want := range wants {
					if got[key] != want {
						t.Errorf("%s: %s: got %v, want %v", where, key, got[key], want)
					}
				}
				if columns == simulator.ColumnsFull {
					want := object{"weir_intent": "intent-1", "weir_attempt": 1.0}
					if diff := cmp.Diff(any(want), got["custom_metadata"]); diff != "" {
						t.Errorf("%s: metadata (-want +got):\n%s", where, diff)
					}
				}
			}
		})
	}
}

func TestAgentIsResolved(t *testing.T) {
	t.Parallel()
	_, url := newAnyreachServer(t, simulator.AnyreachConfig{})
	for name, c := range map[string]struct {
		fields                 object
		agent, version, number any
	}{
		"by agent":      {nil, "ag_1", "version-of-ag_1", "+14155550100"},
		"by version id": {object{"agent_id": nil, "agent_version_id": "av"}, "agent-of-av", "av", "+14155550100"},
		"by number":     {object{"agent_id": nil, "agent_number": "+14155550222"}, "agent-of-+14155550222", "version-of-agent-of-+14155550222", "+14155550222"},
		"by config":     {object{"agent_id": nil, "agent_config": object{}, "channel": "text"}, nil, nil, nil},
	} {
		got := conversationIn(t, book(t, url, with(dial(1), c.fields)).body)
		if got["agent_id"] != c.agent || got["agent_version_id"] != c.version || got["agent_number"] != c.number {
			t.Errorf("%s: got %v, %v, %v, want %v, %v, %v", name, got["agent_id"], got["agent_version_id"], got["agent_number"], c.agent, c.version, c.number)
		}
	}
}

// TestAnyreachLives follows conversations of each channel to their end.
func TestAnyreachLives(t *testing.T) {
	t.Parallel()
	for channel, c := range map[string]struct {
		fields object
		want   map[string]bool // paths that must be seen; no others may be
	}{
		"telephone": {dial(1), map[string]bool{
			"triggered ringing in_progress completed": true, "triggered ringing in_progress transferred": true,
			"triggered ringing in_progress failed": true, "triggered ringing unanswered": true,
			"triggered ringing failed": true, "triggered ringing cancelled": true,
		}},
		"text":   {text("u"), map[string]bool{"in_progress completed": true}},
		"webrtc": {with(text("u"), object{"channel": "webrtc"}), map[string]bool{"token_created in_progress completed": true}},
		"email":  {with(text("u"), object{"channel": "email", "to_address": "a@example.com"}), map[string]bool{"triggered completed": true}},
	} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const n = 100 // a page
				var log bytes.Buffer
				sim := newAnyreach(t, simulator.AnyreachConfig{Limit: n, Global: n, Seed: 3, Log: &log})
				h := sim.Handler()
				for range n {
					ask(t, h, c.fields)
				}
				paths := map[string]string{}
				// Whoever joins does so within 8 s; what follows takes longer.
				for step, began := 250*time.Millisecond, time.Now(); time.Since(began) < 601*time.Second; time.Sleep(step) {
					for _, o := range listed(t, h, n) {
						follow(t, paths, o)
					}
					if time.Since(began) > 9*time.Second {
						step = 5 * time.Second
					}
				}
				seen := map[string]bool{}
				for _, path := range paths {
					seen[path] = true
				}
				if diff := cmp.Diff(c.want, seen); diff != "" {
					t.Errorf("paths (-want +got):\n%s", diff)
				}
				if r := sim.Report(); r.Live != 0 || r.Conversations != n {
					t.Errorf("got %d live of %d, want none of %d", r.Live, r.Conversations, n)
				}
				checkLog(t, log.Bytes(), sim.Conversations())
			})
		})
	}
}

// listed returns the first page of a list.
func listed(t *testing.T, h http.Handler, limit int) []object {
	t.Helper()
	w := serve(t, h, "GET", fmt.Sprintf("/core/conversations?limit=%d", limit), nil)
	return decode[[]object](t, w.Body.Bytes())
}

// follow adds a conversation's status to its path, and checks what goes with
// it.
func follow(t *testing.T, paths map[string]string, o object) {
	t.Helper()
	id, status := o["id"].(string), o["status"].(string)
	path := paths[id]
	if !strings.HasSuffix(path, status) {
		paths[id] = strings.TrimSpace(path + " " + status)
	}
	terminal := slices.Contains([]string{"completed", "failed", "cancelled", "transferred", "unanswered"}, status)
	if (o["duration"] != nil) != terminal || (o["user_turn_count"] != nil) != terminal || (o["summary"] != nil) != terminal {
		t.Errorf("got duration %v, turns %v and summary %v of a %s conversation", o["duration"], o["user_turn_count"], o["summary"], status)
	}
	if status == "unanswered" && o["duration"] != 0.0 {
		t.Errorf("got duration %v of an unanswered call, want 0", o["duration"])
	}
}
