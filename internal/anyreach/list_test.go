package anyreach_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/anyreach"
)

// entry is a conversation of a shelf.
type entry struct {
	id string
	at time.Time
}

// shelf is a list at the provider, the newest first, as its documents have it.
type shelf struct {
	entries []entry
	layout  string // of times, in requests and answers
	deaf    bool   // heeds no window

	asked []url.Values
}

// ServeHTTP answers one page.
func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.asked = append(s.asked, q)
	limit, _ := strconv.Atoi(q.Get("limit"))
	page := []map[string]any{}
	for _, e := range s.entries {
		if text := e.at.Format(s.layout); len(page) < limit && s.within(e.at, q) {
			page = append(page, map[string]any{"id": e.id, "status": "completed", "channel": "text", "user_id": "u", "created_at": text})
		}
	}
	_ = json.NewEncoder(w).Encode(page)
}

// within reports whether a conversation belongs on the page. Bounds are
// inclusive and compared with the whole time, a cursor leaves its own out.
func (s *shelf) within(at time.Time, q url.Values) bool {
	bound := func(key string) (time.Time, bool) {
		t, err := time.Parse(time.RFC3339Nano, q.Get(key))
		return t, err == nil
	}
	if after, ok := bound("created_after"); ok && at.Before(after) {
		return false
	}
	if before, ok := bound("created_before"); ok && !s.deaf && at.After(before) {
		return false
	}
	if cursor, err := base64.StdEncoding.DecodeString(q.Get("cursor")); err == nil && len(cursor) > 0 {
		t, _ := time.Parse(time.RFC3339Nano, string(cursor))
		return at.Before(t)
	}
	return true
}

// list lists what a handler has.
func list(t *testing.T, h http.Handler, since time.Time) ([]string, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	c := client(t, anyreach.Config{URL: srv.URL})
	defer c.Close()
	got, err := c.Conversations(t.Context(), since)
	var ids []string
	for _, conv := range got {
		if conv.Header["Date"] == nil || !conv.Ended || conv.Pair != "text u" {
			t.Errorf("got %+v, want the header and all columns", conv)
		}
		ids = append(ids, conv.ID)
	}
	return ids, err
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// entries returns n conversations, the newest first, of which so many share each
// step.
func entries(n, share int, step time.Duration) []entry {
	var out []entry
	for i := range n {
		out = append(out, entry{fmt.Sprintf("c-%d", i), noon.Add(-time.Duration(i/share) * step)})
	}
	return out
}

// mixed returns most of a page of a time with a fraction, then as many of times
// without one.
func mixed() []entry {
	var out []entry
	for i := range 290 {
		out = append(out, entry{fmt.Sprintf("c-%d", i), noon.Add([]time.Duration{1500 * time.Millisecond, time.Second, 0, -time.Second}[i/90])})
	}
	return out
}

func TestConversations(t *testing.T) {
	t.Parallel()
	const seconds, millis = "2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000Z"
	tests := []struct {
		name    string
		entries []entry
		layout  string
		deaf    bool
		want    int
		pages   int
	}{
		{"none", nil, seconds, false, 0, 1},
		{"fewer than a page", entries(99, 1, time.Second), seconds, false, 99, 1},
		{"a page", entries(100, 1, time.Second), seconds, false, 100, 2},
		{"several pages", entries(250, 1, time.Second), seconds, false, 250, 3},
		{"ties at a page's end", entries(250, 7, time.Second), seconds, false, 250, 3},
		{"ties for most of a page", entries(300, 60, time.Second), seconds, false, 300, 6},
		{"times that are written shorter than they are", entries(260, 1, 90*time.Millisecond), seconds, false, 260, 3},
		{"nanoseconds", entries(260, 3, 77*time.Nanosecond), time.RFC3339Nano, false, 260, 3},
		{"milliseconds", entries(260, 3, time.Millisecond), millis, false, 260, 3},
		{"more of one time than a page holds", append(entries(150, 150, 0), entry{"old", noon.Add(-time.Hour)}), seconds, false, 101, 4},
		{"times of which some are written shorter", mixed(), time.RFC3339Nano, false, 290, 5},
		{"a server without windows", entries(250, 1, time.Second), seconds, true, 250, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &shelf{entries: tt.entries, layout: tt.layout, deaf: tt.deaf}
			ids, err := list(t, s, noon.Add(-2*time.Hour))
			if err != nil {
				t.Fatalf("Conversations: %v", err)
			}
			if n := len(slices.Compact(slices.Sorted(slices.Values(ids)))); n != tt.want || len(ids) != tt.want {
				t.Errorf("got %d conversations, %d of them different, want %d", len(ids), n, tt.want)
			}
			if len(s.asked) != tt.pages {
				t.Errorf("got %d pages, want %d: %v", len(s.asked), tt.pages, s.asked)
			}
		})
	}
}

// TestConversationsSince: a list ends with the first that is too old, and one
// that is not written to the last digit is kept.
func TestConversationsSince(t *testing.T) {
	t.Parallel()
	s := &shelf{entries: entries(500, 1, time.Second), layout: "2006-01-02T15:04:05Z"}
	since := noon.Add(-9500 * time.Millisecond)
	ids, err := list(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if got := q.Get("created_after"); got != "2026-01-01T11:59:50Z" {
			t.Errorf("created_after: got %q", got)
		}
		q.Del("created_after") // a server that does not heed it
		r.URL.RawQuery = q.Encode()
		s.ServeHTTP(w, r)
	}), since)
	// The one of 11:59:50 may be of any moment of that second.
	if want := []string{"c-0", "c-1", "c-2", "c-3", "c-4", "c-5", "c-6", "c-7", "c-8", "c-9", "c-10"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %v and error %v, want %v", ids, err, want)
	}
	if len(s.asked) != 1 {
		t.Errorf("got %d pages, want 1", len(s.asked))
	}
	if _, err := list(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "limit=100" {
			t.Errorf("without a time: got the query %q", r.URL.RawQuery)
		}
		fmt.Fprint(w, "[]")
	}), time.Time{}); err != nil {
		t.Errorf("Conversations: %v", err)
	}
}

// TestConversationsCursor: the cursor is the text of the last time, as it was
// received, in Base64 that a URL can carry.
func TestConversationsCursor(t *testing.T) {
	t.Parallel()
	const at = "2026-01-01T12:00:00.5>?~+00:00" // whose Base64 has each odd sign; no time
	page := func(at string) string {
		rows := make([]string, 100)
		for i := range rows {
			rows[i] = fmt.Sprintf(`{"id":"c-%d","status":"completed","channel":"text","user_id":"u","created_at":%q}`, i, at)
		}
		return "[" + strings.Join(rows, ",") + "]"
	}
	ids, err := list(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page(at)) }), noon)
	if len(ids) != 100 || err != nil {
		t.Errorf("got %d conversations and error %v, want 100", len(ids), err)
	}
	const offset = "2026-01-01T13:00:00.500000+01:00"
	var asked []string
	ids, err = list(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		fmt.Fprint(w, page(offset))
	}), noon)
	if len(ids) != 100 || err != nil {
		t.Errorf("got %d conversations and error %v, want 100", len(ids), err)
	}
	const head = "created_after=2026-01-01T12%3A00%3A00Z"
	want := []string{
		head + "&limit=100",
		"created_after=2026-01-01T12%3A00%3A00Z&created_before=2026-01-01T12%3A00%3A00.500001Z&limit=100",
		"created_after=2026-01-01T12%3A00%3A00Z&created_before=2026-01-01T12%3A00%3A00.5Z&limit=100",
		head + "&cursor=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(offset))) + "&limit=100",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestConversationsAreBounded(t *testing.T) {
	t.Parallel()
	s := &shelf{entries: entries(3000, 1, time.Millisecond), layout: time.RFC3339Nano}
	ids, err := list(t, s, noon.Add(-time.Hour))
	if err != nil || len(s.asked) != 20 || len(ids) < 1900 {
		t.Errorf("got %d conversations and error %v after %d pages, want most of 2000 after 20", len(ids), err, len(s.asked))
	}
	ids, err = list(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "[")
		for i := range 5000 {
			fmt.Fprintf(w, `{"id":"c-%d","status":"completed","channel":"text","user_id":"u"},`, i)
		}
		fmt.Fprint(w, "{}]")
	}), noon)
	if err != nil || len(ids) != 1000 {
		t.Errorf("got %d conversations and error %v of a page without end, want 1000", len(ids), err)
	}
}

func TestConversationsRows(t *testing.T) {
	t.Parallel()
	got, err := one(t, 200, `[{"id":"c-1","status":"ringing"},{"id":"c-2","status":"failed","channel":"text","user_id":"u","duration":3,
		"created_at":"2026-01-01T12:00:00Z","custom_metadata":{"weir_intent":"i","weir_attempt":2}},
		{"id":"c-1","status":"completed"},{"id":"c-3"},{"status":"completed"},{"id":"a b","status":"x"},null,7,
		{"id":"c-4","status":"completed","created_at":"2026-01-01T11:00:00Z"}]`)
	want := []consumer.Conversation{
		{ID: "c-1", Status: "ringing"},
		{ID: "c-2", Status: "failed", Ended: true, Result: "failed", Pair: "text u", Intent: "i", Attempt: 2, StartedAt: noon, Duration: 3 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, conversations (-want +got):\n%s", err, diff)
	}
}

// one lists what is one page.
func one(t *testing.T, status int, body string) ([]consumer.Conversation, error) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer srv.Close()
	c := client(t, anyreach.Config{URL: srv.URL})
	defer c.Close()
	got, err := c.Conversations(t.Context(), noon.Add(-time.Minute))
	for i := range got {
		got[i].Header = nil
	}
	return got, err
}

func TestConversationsErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		body   string
		text   string
		seen   int
	}{
		"credentials": {401, `{"detail":"no"}`, "refused the credentials", 0},
		"broken":      {500, `{"summary":"private"}`, "status 500: no words", 0},
		"no array":    {200, `{"items":[{"summary":"private"}]}`, "no JSON array: no words", 0},
		"a page":      {200, `<html>`, "no JSON array: an HTML page", 0},
		"empty":       {200, ``, "no JSON array: no body", 0},
		"torn":        {200, `[{"id":"c-1","status":"x"},{"id":"private`, "not well formed", 1},
		"open":        {200, `[{"id":"c-1","status":"x"}`, "not well formed", 1},
	} {
		got, err := one(t, tt.status, tt.body)
		if err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "private") || len(got) != tt.seen {
			t.Errorf("%s: got %v and error %v, want %d and %q", name, got, err, tt.seen, tt.text)
		}
	}
	// What was seen before an error is kept.
	s := &shelf{entries: entries(150, 1, time.Second), layout: time.RFC3339Nano}
	ids, err := list(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.asked) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		s.ServeHTTP(w, r)
	}), noon.Add(-time.Hour))
	if err == nil || len(ids) != 100 {
		t.Errorf("got %d conversations and error %v, want 100 and an error", len(ids), err)
	}
}
