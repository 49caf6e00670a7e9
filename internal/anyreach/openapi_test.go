package anyreach_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/schema/openapitest"
)

// TestRequestsFitTheDocument holds what is sent, and the answers that these tests
// are made with, against the description of the API.
func TestRequestsFitTheDocument(t *testing.T) {
	t.Parallel()
	api := openapitest.Load(t, "../../schema/anyreach.openapi.yaml")
	const at = "2026-01-01T12:00:00Z"
	conversation := `{"id":"` + intent + `","channel":"text","status":"completed","user_id":"u","created_at":"` + at + `"}`
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := conversation
		switch {
		case r.Method == http.MethodPost:
			_, _ = io.Copy(io.Discard, r.Body)
			body = wrap(conversation)
		case r.URL.RawQuery != "":
			body = "[" + conversation + strings.Repeat(","+conversation, 99) + "]"
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	})
	// The server's paths have no host: the document's base ends with it.
	srv := httptest.NewServer(api.At("").Handler(t, next))
	t.Cleanup(srv.Close)
	c := client(t, anyreach.Config{URL: srv.URL, Token: "pat_x", Organization: "org_1"})
	for name, r := range map[string]map[string]any{
		"call":   call("custom_metadata", map[string]any{"a": []any{1, nil}}),
		"email":  {"channel": "email", "user_id": "u", "to_address": "a@b.cd", "from_address": "x@y.zz", "subject": "s", "agent_id": "a", "version": 3},
		"text":   {"channel": "text", "user_id": 7, "agent_id": "a", "version": "latest", "initial_context": "x"},
		"webrtc": {"channel": "webrtc", "user_id": "u", "agent_config": map[string]any{"a": 1}},
	} {
		b := batch(t, "text")
		prepared, err := c.Prepare(r)
		if err != nil {
			t.Fatalf("%s: Prepare: %v", name, err)
		}
		b.Items[0].Request = prepared
		if a := c.Create(t.Context(), b); a.Status != 200 {
			t.Errorf("%s: got status %d (%s)", name, a.Status, a.Results[0].Reason)
		}
	}
	if _, err := c.Conversation(t.Context(), intent); err != nil {
		t.Errorf("Conversation: %v", err)
	}
	// A full page that repeats itself: first page, both windows, cursor.
	if got, err := c.Conversations(t.Context(), time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)); err != nil || len(got) != 1 {
		t.Errorf("Conversations: got %d and error %v, want 1", len(got), err)
	}
}
