package simulator_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// users asks for a page and returns the users in it.
func users(t *testing.T, h http.Handler, query url.Values) []string {
	t.Helper()
	w := serve(t, h, "GET", "/core/conversations?"+query.Encode(), nil)
	if w.Code != 200 {
		t.Fatalf("list %v: got %d %s, want 200", query, w.Code, w.Body)
	}
	got := []string{}
	for _, o := range decode[[]object](t, w.Body.Bytes()) {
		got = append(got, o["user_id"].(string))
	}
	return got
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newAnyreach(t, simulator.AnyreachConfig{Limit: 1})
		h := sim.Handler()
		mail := object{"channel": "email", "to_address": "a@example.com"}
		meta := object{"job": object{"n": 7, "tags": []string{"a", "b"}}, "none": nil, "big": 10.0}
		for _, fields := range []object{
			text("Ana"), text("ANNABEL"), with(text("bob"), object{"agent_id": "ag_2"}), with(text("carl"), mail),
			with(dial(1), object{"agent_number": "+14155550222"}), with(text("dora"), object{"custom_metadata": meta}),
			with(text("eve"), object{"agent_id": nil, "agent_version_id": "av_9"}),
		} {
			ask(t, h, fields)
			time.Sleep(10 * time.Millisecond)
		}
		second := sim.Conversations()[0].Created.Truncate(time.Second)
		at := func(d time.Duration) string { return second.Add(d).Format(time.RFC3339Nano) }
		everyone := []string{"eve", "dora", "+14155550001", "carl", "bob", "ANNABEL", "Ana"}
		for _, c := range []struct {
			query string // name=value, unescaped
			want  []string
		}{
			{"", everyone},
			{"unheard_of=1", everyone},
			{"channel=email", []string{"carl"}},
			{"channel=webrtc", []string{}},
			{"status=in_progress", []string{"eve", "dora", "bob", "ANNABEL", "Ana"}},
			{"direction=inbound", []string{}},
			{"user_id=AN", []string{"ANNABEL", "Ana"}},
			{"user_id=+1415555", []string{"+14155550001"}},
			{"user_id=%", []string{}},
			{"agent_number=0222", []string{"+14155550001"}},
			{"agent_id=ag_2", []string{"bob"}},
			{"agent_id=ag", []string{}},
			{"agent_version_id=av_9", []string{"eve"}},
			{"created_after=" + at(0), everyone},
			{"created_after=" + at(1), []string{}},
			{"created_before=" + at(0), everyone},
			{"created_before=" + at(-1), []string{}},
			{`custom_metadata={"weir_intent":"intent-1"}`, []string{"+14155550001"}},
			{`custom_metadata={"weir_attempt":1}`, []string{"+14155550001"}},
			{`custom_metadata={"weir_attempt":"1"}`, []string{}},
			{`custom_metadata={"weir_attempt":null}`, []string{}},
			{`custom_metadata={}`, everyone},
			{`custom_metadata={"job":{"n":7}}`, []string{"dora"}},
			{`custom_metadata={"job":{"n":7,"m":null}}`, []string{}},
			{`custom_metadata={"job":{"tags":["b"]}}`, []string{"dora"}},
			{`custom_metadata={"job":{"tags":["b","c"]}}`, []string{}},
			{`custom_metadata={"job":{"tags":"b"}}`, []string{}},
			{`custom_metadata={"job":7}`, []string{}},
			{`custom_metadata={"none":null,"big":1e1}`, []string{"dora"}},
			{"limit=2", []string{"eve", "dora"}},
		} {
			query := url.Values{}
			if name, value, ok := strings.Cut(c.query, "="); ok {
				query.Set(name, value)
			}
			if diff := cmp.Diff(c.want, users(t, h, query)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.query, diff)
			}
		}
		// The plus of a number that was not escaped is a space.
		w := serve(t, h, "GET", "/core/conversations?user_id=+1415555", nil)
		if got := w.Body.String(); got != "[]" {
			t.Errorf("got %s for a plus that is not escaped, want nothing", got)
		}
		both := url.Values{"channel": {"text"}, "user_id": {"a"}, "limit": {"3"}}
		if diff := cmp.Diff([]string{"dora", "ANNABEL", "Ana"}, users(t, h, both)); diff != "" {
			t.Errorf("three parameters (-want +got):\n%s", diff)
		}
	})
}

func TestListRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	sim := newAnyreach(t, simulator.AnyreachConfig{Detail: simulator.DetailList})
	h := sim.Handler()
	garbage := base64.StdEncoding.EncodeToString([]byte("yesterday"))
	for _, c := range []struct{ name, value string }{
		{"channel", "fax"}, {"status", "done"}, {"created_after", "yesterday"}, {"created_before", "2026-01-01T00:00:00"},
		{"cursor", "!"}, {"cursor", garbage}, {"custom_metadata", "x"}, {"custom_metadata", "[]"}, {"custom_metadata", "null"},
		{"limit", "0"}, {"limit", "101"}, {"limit", "-1"}, {"limit", "ten"},
	} {
		w := serve(t, h, "GET", "/core/conversations?"+url.Values{c.name: {c.value}}.Encode(), nil)
		if w.Code != 422 || !strings.Contains(w.Body.String(), `"loc":["query","`+c.name+`"]`) {
			t.Errorf("%s=%s: got %d %s, want 422 about it", c.name, c.value, w.Code, w.Body)
		}
	}
	safe := newAnyreach(t, simulator.AnyreachConfig{Columns: simulator.ColumnsSafe}).Handler()
	w := serve(t, safe, "GET", "/core/conversations?custom_metadata=%7B%7D", nil)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "read_sensitive") {
		t.Errorf("got %d %s for a list by metadata with safe columns, want 403", w.Code, w.Body)
	}
}

// walk lists everything by cursor, as documented, and returns how often each
// user was seen.
func walk(t *testing.T, h http.Handler, limit int, encoding *base64.Encoding) map[string]int {
	t.Helper()
	seen := map[string]int{}
	query := url.Values{"limit": {fmt.Sprint(limit)}}
	for {
		w := serve(t, h, "GET", "/core/conversations?"+query.Encode(), nil)
		page := decode[[]object](t, w.Body.Bytes())
		for _, o := range page {
			seen[o["user_id"].(string)]++
		}
		if len(page) < limit {
			return seen
		}
		query.Set("cursor", encoding.EncodeToString([]byte(page[len(page)-1]["created_at"].(string))))
	}
}

// TestListPages walks back in time: whole where no two conversations share a
// time, and with a gap where a page ends among those that do.
func TestListPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newAnyreach(t, simulator.AnyreachConfig{}).Handler()
		fine := newAnyreach(t, simulator.AnyreachConfig{Tick: time.Nanosecond}).Handler()
		for i := range 120 {
			ask(t, h, text(fmt.Sprintf("u%d", i)))
			ask(t, fine, text(fmt.Sprintf("u%d", i)))
			time.Sleep(300 * time.Millisecond) // three or four in a second
		}
		for name, e := range map[string]*base64.Encoding{
			"standard": base64.StdEncoding, "URL-safe": base64.URLEncoding, "raw": base64.RawURLEncoding,
		} {
			if got := walk(t, fine, 7, e); len(got) != 120 {
				t.Errorf("%s: got %d of 120 with times of their own, want all", name, len(got))
			}
		}
		got := walk(t, h, 7, base64.StdEncoding)
		if len(got) >= 120 || len(got) < 60 {
			t.Errorf("got %d of 120 with shared times, want a gap", len(got))
		}
		for user, n := range got {
			if n != 1 {
				t.Errorf("got %s %d times, want once", user, n)
			}
		}
		if n := len(users(t, h, nil)); n != 50 {
			t.Errorf("got a page of %d, want 50 by default", n)
		}
		if n := len(users(t, h, url.Values{"limit": {"100"}})); n != 100 {
			t.Errorf("got a page of %d, want 100", n)
		}
	})
}
