package oration_test

import (
	stdcmp "cmp"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/oration"
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
	c := client(t, oration.Config{URL: srv.URL + "/api/v2/"})
	defer c.Close()
	conv, err := c.Conversation(t.Context(), id)
	if conv.Header["X-Ratelimit-Remaining"] == nil || conv.Header["Set-Cookie"] != nil {
		t.Errorf("header: got %v, want the limit in it and no cookie", conv.Header)
	}
	conv.Header = nil
	return conv, seen, err
}

func TestConversation(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	tests := []struct {
		name, body string
		want       consumer.Conversation
	}{
		{"unanswered, as documented", `{"id":"c-1","conversationStatus":"completed","endReason":"user_did_not_answer","telephonyStatus":null,
			"callStartTime":"2026-01-01T00:00:01.000Z","callEndTime":"2026-01-01T00:00:55.000Z","userJoinTime":null,
			"dynamicVariables":"{\"name\":\"Ana\",\"weir_intent\":\"i-1\",\"weir_attempt\":\"3\"}","summary":""}`,
			consumer.Conversation{Status: "completed", Ended: true, Result: "unanswered", Reason: "user_did_not_answer",
				Intent: "i-1", Attempt: 3, StartedAt: at(1), EndedAt: at(55)}},
		{"answered", `{"id":"c-1","conversationStatus":"completed","endReason":"user_hangup","userJoinTime":"2026-01-01T00:00:05.000Z","summary":"They\nagreed."}`,
			consumer.Conversation{Status: "completed", Ended: true, Result: "completed", Reason: "user_hangup", Summary: "They\nagreed."}},
		{"completed without a join time", `{"id":"c-1","conversationStatus":"completed","endReason":null,"userJoinTime":null}`,
			consumer.Conversation{Status: "completed", Ended: true, Result: "completed"}},
		{"wrapped", `{"conversation":{"id":"C-1","conversationStatus":"active","dynamicVariables":{"weir_intent":"i-1","weir_attempt":2}}}`,
			consumer.Conversation{Status: "active", Intent: "i-1", Attempt: 2}},
		{"failed", `{"id":"c-1","conversationStatus":"failed","endReason":"network_error"}`,
			consumer.Conversation{Status: "failed", Ended: true, Result: "failed", Reason: "network_error"}},
		{"transferred by status", `{"id":"c-1","conversationStatus":"completed","transferStatus":"Completed"}`,
			consumer.Conversation{Status: "completed", Ended: true, Result: "transferred"}},
		{"transferred by the one who joined", `{"id":"c-1","conversationStatus":"completed","transferUserJoinTime":"2026-01-01T00:00:05Z"}`,
			consumer.Conversation{Status: "completed", Ended: true, Result: "transferred"}},
		{"a transfer that failed", `{"id":"c-1","conversationStatus":"completed","transferStatus":"failed","transferDestination":"+14155550123","transferUserJoinTime":null}`,
			consumer.Conversation{Status: "completed", Ended: true, Result: "completed"}},
		{"an end that the API does not know", `{"id":"c-1","conversationStatus":"evaporated","callEndTime":"2026-01-01T00:00:05Z"}`,
			consumer.Conversation{Status: "evaporated", EndedAt: at(5)}},
		{"members of other types", `{"id":"c-1","conversationStatus":7,"callStartTime":5,"summary":{"a":1},"dynamicVariables":"not JSON","endReason":[]}`,
			consumer.Conversation{Status: "7"}},
		{"only an id", `{"id":"c-1"}`, consumer.Conversation{}},
		{"a number and an agent", `{"id":"c-1","toPhoneNumber":"+1 415-555-0123","agentId":"AB","customerId":"x"}`,
			consumer.Conversation{Pair: "number 14155550123 agent ab"}},
		{"a customer", `{"id":"c-1","toPhoneNumber":null,"agentId":"ab","customerId":"X"}`,
			consumer.Conversation{Pair: "customer x agent ab"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, req, err := ask(t, "c-1", 200, tt.body)
			if err != nil {
				t.Fatalf("Conversation: %v", err)
			}
			tt.want.ID, tt.want.Pair = "c-1", stdcmp.Or(tt.want.Pair, "unnamed")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("conversation (-want +got):\n%s", diff)
			}
			if req.Method != "GET" || req.URL.Path != "/api/v2/conversations/c-1" || req.Header.Get("Authorization") != "Bearer secret-bearer" {
				t.Errorf("got the request %s %s with %v", req.Method, req.URL, req.Header)
			}
		})
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
		{"unknown", 404, `{"message":"none"}`, consumer.ErrNotFound, "none"},
		{"unknown to a web server", 404, "<html><title>Lost</title>", consumer.ErrNotFound, `an HTML page, "Lost"`},
		{"credentials", 401, `{"message":"key +14155550123"}`, consumer.ErrUnauthorized, "key"},
		{"not allowed", 403, "", consumer.ErrUnauthorized, "no body"},
		{"full", 429, "{}", nil, "status 429"},
		{"broken", 500, "oops", nil, "status 500: oops"},
		{"redirect", 302, "", nil, "status 302"},
		{"no JSON", 200, "ok", nil, "no JSON object"},
		{"array", 200, "[]", nil, "no JSON object"},
		{"another conversation", 200, `{"id":"c-2","conversationStatus":"completed"}`, nil, "another conversation"},
		{"no id", 200, `{"conversationStatus":"completed"}`, nil, "another conversation"},
		{"too long", 200, `{"id":"c-1","x":"` + strings.Repeat("x", 5<<20) + `"}`, nil, "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := ask(t, "c-1", tt.status, tt.body)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got error %v, want %q in it", err, tt.text)
			}
			for _, is := range []error{consumer.ErrNotFound, consumer.ErrUnauthorized} {
				if errors.Is(err, is) != errors.Is(tt.is, is) {
					t.Errorf("got error %v, want %v", err, tt.is)
				}
			}
			if strings.Contains(err.Error(), "5550123") {
				t.Errorf("%q shows a number", err)
			}
			if diff := cmp.Diff(consumer.Conversation{}, got); diff != "" {
				t.Errorf("conversation beside an error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConversationEscapesItsID(t *testing.T) {
	t.Parallel()
	const id = "a/../b?c=d#e%"
	_, req, err := ask(t, id, 404, "{}")
	if !errors.Is(err, consumer.ErrNotFound) {
		t.Errorf("got error %v", err)
	}
	if want := "/api/v2/conversations/a%2F..%2Fb%3Fc=d%23e%25"; req.RequestURI != want {
		t.Errorf("path: got %q, want %q", req.RequestURI, want)
	}
	c := preparer(t)
	for _, id := range []string{"", ".", "..", "a b", "a\nb", strings.Repeat("x", 257)} {
		if _, err := c.Conversation(t.Context(), id); err == nil || !strings.Contains(err.Error(), "cannot be asked for") {
			t.Errorf("id %q: got error %v", id, err)
		}
	}
}

func TestConversationSummaryIsBounded(t *testing.T) {
	t.Parallel()
	got, _, err := ask(t, "c-1", 200, fmt.Sprintf(`{"id":"c-1","summary":%q}`, strings.Repeat("é", 9000)))
	if n := len([]rune(got.Summary)); err != nil || n != 4097 {
		t.Errorf("got %d characters and error %v, want 4096 and a mark", n, err)
	}
}
