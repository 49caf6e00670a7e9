package anyreach_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/anyreach"
)

// ask answers one query with status and body.
func ask(t *testing.T, id string, status int, answer string) (consumer.Conversation, *http.Request, error) {
	t.Helper()
	var seen *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header().Set("X-Ratelimit-Remaining", "3")
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer srv.Close()
	c := client(t, anyreach.Config{URL: srv.URL, Token: "pat_x", Organization: "org_1"})
	defer c.Close()
	got, err := c.Conversation(t.Context(), id)
	if got.Header["X-Ratelimit-Remaining"] == nil || got.Header["Set-Cookie"] != nil {
		t.Errorf("header: got %v, want the limit in it and no cookie", got.Header)
	}
	got.Header = nil
	return got, seen, err
}

func TestConversation(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ended := func(status string) consumer.Conversation {
		return consumer.Conversation{Status: status, Ended: true, Result: status}
	}
	tests := []struct {
		name, body string
		want       consumer.Conversation
	}{
		{"as documented", `{"id":"c-1","organization_id":"org_9","direction":"outbound","channel":"telephone","status":"completed",
			"user_id":"+14155550111","agent_id":"ag_1","agent_number":"+14155550222","duration":75,"user_turn_count":4,
			"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:02:00Z","agent":{"id":"ag_1"},"summary":"They\nagreed.",
			"custom_metadata":{"k":"v","weir_intent":"i-1","weir_attempt":3},"conversation":{},"recording_details":{}}`,
			consumer.Conversation{Status: "completed", Ended: true, Result: "completed", Summary: "They\nagreed.", Pair: "telephone 14155550111",
				Intent: "i-1", Attempt: 3, StartedAt: start, Duration: 75 * time.Second}},
		{"safe columns", `{"id":"c-1","channel":"text","status":"in_progress","user_id":"u","duration":null,"created_at":"2026-01-01T00:00:00.000Z"}`,
			consumer.Conversation{Status: "in_progress", Pair: "text u", StartedAt: start}},
		{"wrapped", `{"conversation":{"id":"C-1","status":"triggered"}}`, consumer.Conversation{Status: "triggered"}},
		{"with a transcript that has an id", `{"id":"c-1","status":"ringing","conversation":{"id":"t-1","status":"completed"}}`, consumer.Conversation{Status: "ringing"}},
		{"token created", `{"id":"c-1","status":"token_created"}`, consumer.Conversation{Status: "token_created"}},
		{"completed", `{"id":"c-1","status":"completed"}`, ended("completed")},
		{"failed", `{"id":"c-1","status":"failed"}`, ended("failed")},
		{"cancelled", `{"id":"c-1","status":"cancelled"}`, ended("cancelled")},
		{"transferred", `{"id":"c-1","status":"transferred"}`, ended("transferred")},
		{"unanswered", `{"id":"c-1","status":"unanswered"}`, ended("unanswered")},
		{"a status that nobody knows", `{"id":"c-1","status":"evaporated"}`, consumer.Conversation{Status: "evaporated"}},
		{"a status in capitals", `{"id":"c-1","status":"COMPLETED"}`, consumer.Conversation{Status: "COMPLETED"}},
		{"half a pair", `{"id":"c-1","status":"x","channel":"text","user_id":null}`, consumer.Conversation{Status: "x"}},
		{"a duration as text, a time without zone", `{"id":"c-1","status":"x","duration":"1.5","created_at":"2026-01-01 00:00:00.000000"}`,
			consumer.Conversation{Status: "x", Duration: 1500 * time.Millisecond, StartedAt: start}},
		{"durations that cannot be", `{"id":"c-1","status":"x","duration":-1}`, consumer.Conversation{Status: "x"}},
		{"a duration for ever", `{"id":"c-1","status":"x","duration":1e300}`, consumer.Conversation{Status: "x"}},
		{"no number", `{"id":"c-1","status":"x","duration":"NaN"}`, consumer.Conversation{Status: "x"}},
		{"members of other types", `{"id":"c-1","status":7,"created_at":5,"summary":{"a":1},"custom_metadata":"no JSON","channel":[],"duration":{}}`,
			consumer.Conversation{Status: "7"}},
		{"only an id", `{"id":"c-1"}`, consumer.Conversation{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, req, err := ask(t, "c-1", 200, tt.body)
			if err != nil {
				t.Fatalf("Conversation: %v", err)
			}
			tt.want.ID = "c-1"
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("conversation (-want +got):\n%s", diff)
			}
			if req.Method != "GET" || req.RequestURI != "/core/conversations/c-1" || req.Header.Get("Authorization") != "Bearer pat_x" || req.Header.Get("X-Anyreach-Org") != "org_1" {
				t.Errorf("got the request %s %s with %v", req.Method, req.URL, req.Header)
			}
		})
	}
}

func TestConversationPairIsThatOfItsRequest(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{"telephone", "email", "text", "webrtc"} {
		r := item(t, channel).Request
		body := r.Body.(anyreach.Request)
		got, _, err := ask(t, "c-1", 200, `{"id":"c-1","channel":"`+body.Channel+`","user_id":"`+body.UserID+`"}`)
		if err != nil || got.Pair != r.Pair || r.Channel != channel {
			t.Errorf("%s: got pair %q and error %v, want %q", channel, got.Pair, err, r.Pair)
		}
	}
}

func TestConversationErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		is     error
		text   string
	}{
		{"unknown", 404, `{"detail":"Conversation not found"}`, consumer.ErrNotFound, "(Conversation not found)"},
		{"credentials", 401, `{"detail":"no organization claim of +14155550111"}`, consumer.ErrUnauthorized, "no organization claim of …11"},
		{"not allowed", 403, "", consumer.ErrUnauthorized, "no body"},
		{"invalid", 422, `{"detail":[{"loc":["path","id"],"msg":"bad","input":"+14155550111"}]}`, nil, "status 422: path.id: bad"},
		{"broken", 500, `{"summary":"private"}`, nil, "status 500: no words"},
		{"a page", 502, "<html><title>Lost</title>", nil, `an HTML page, "Lost"`},
		{"redirect", 302, "", nil, "status 302"},
		{"no JSON", 200, "ok", nil, "no JSON object: ok"},
		{"array", 200, `[{"summary":"private"}]`, nil, "no JSON object: no words"},
		{"torn", 200, `{"id":"c-1","summary":"private"`, nil, "no JSON object: no words"},
		{"another conversation", 200, `{"id":"c-2","status":"completed"}`, nil, "another conversation"},
		{"no id", 200, `{"status":"completed"}`, nil, "another conversation"},
		{"too long", 200, `{"id":"c-1","x":"` + strings.Repeat("x", 5<<20) + `"}`, nil, "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := ask(t, "c-1", tt.status, tt.body)
			if err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "private") || strings.Contains(err.Error(), "5550111") {
				t.Fatalf("got error %v, want %q in it and nothing private", err, tt.text)
			}
			for _, is := range []error{consumer.ErrNotFound, consumer.ErrUnauthorized} {
				if errors.Is(err, is) != errors.Is(tt.is, is) {
					t.Errorf("got error %v, want %v", err, tt.is)
				}
			}
			if diff := cmp.Diff(consumer.Conversation{}, got); diff != "" {
				t.Errorf("conversation beside an error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConversationSummaryIsBounded(t *testing.T) {
	t.Parallel()
	got, _, err := ask(t, "c-1", 200, `{"id":"c-1","summary":"`+strings.Repeat("é", 9000)+`"}`)
	if n := len([]rune(got.Summary)); err != nil || n != 4097 {
		t.Errorf("got %d characters and error %v, want 4096 and a mark", n, err)
	}
}
