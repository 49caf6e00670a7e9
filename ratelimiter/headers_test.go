package ratelimiter_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/ratelimiter"
)

// noon is the moment of every answer in these tests: 1792411200 s since 1970.
var noon = time.Date(2026, 10, 19, 12, 0, 0, 0, time.UTC)

// headers makes a header of "Name: value" lines.
func headers(lines ...string) map[string][]string {
	h := map[string][]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h[name] = append(h[name], value)
	}
	return h
}

func TestParse(t *testing.T) {
	t.Parallel()
	const tooLong = "X-Limit-Of-Something-That-Has-A-Name-Much-Longer-Than-Anybody-Wants-To-See"
	tests := []struct {
		name  string
		lines []string
		names ratelimiter.Names
		want  ratelimiter.Reading // Limit and Remaining as given: -1 where absent
	}{
		{
			"nothing", []string{"Content-Type: text/plain"}, ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1},
		},
		{
			"x-ratelimit without a reset counts conversations",
			[]string{"X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 3"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, Limit: 20, Remaining: 3, Family: "X-RateLimit-*"},
		},
		{
			"names in any case",
			[]string{"x-ratelimit-LIMIT: 20", "X-RATELIMIT-remaining: 3"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, Limit: 20, Remaining: 3, Family: "X-RateLimit-*"},
		},
		{
			"x-ratelimit with a reset is a rate",
			[]string{"X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 999", "X-RateLimit-Reset: 30"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: 1000, Remaining: 999, Reset: 30 * time.Second, Family: "X-RateLimit-*"},
		},
		{
			"an unreadable reset makes it a rate all the same",
			[]string{"X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: soon"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: 1000, Remaining: 0, Family: "X-RateLimit-*", Unknown: []string{"X-RateLimit-Reset"}},
		},
		{
			"remaining alone",
			[]string{"X-RateLimit-Remaining: 3"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, Limit: -1, Remaining: 3, Family: "X-RateLimit-*"},
		},
		{
			"ratelimit trio of the early drafts",
			[]string{"RateLimit-Limit: 100, 100;w=60", "RateLimit-Remaining: 7"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: 100, Remaining: 7, Family: "RateLimit-*"},
		},
		{
			"a policy beside the trio makes it a rate, but is not understood without a name",
			[]string{"RateLimit-Limit: 100", "RateLimit-Remaining: 7", "RateLimit-Policy: 100;w=60"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: 100, Remaining: 7, Family: "RateLimit-*"},
		},
		{
			"structured rate",
			[]string{`RateLimit-Policy: "burst";q=100;w=60,"daily";q=1000;w=86400`, `RateLimit: "burst";r=50;t=30`, `RateLimit: "daily";r=9;t=4000`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: 1000, Remaining: 9, Reset: 4000 * time.Second, Family: "RateLimit"},
		},
		{
			"the last exhausted window counts",
			[]string{`RateLimit: "burst";r=0;t=30, "daily";r=0;t=4000, "hourly";r=0;t=300, "yearly";r=5;t=80000`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: 0, Reset: 4000 * time.Second, Family: "RateLimit"},
		},
		{
			"structured conversations",
			[]string{`RateLimit-Policy: "calls";q=20;qu="concurrent-requests"`, `RateLimit: "calls";r=3;pk=:YQ==:`},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 20, Remaining: 3, Family: "RateLimit"},
		},
		{
			"the unit wins over a window",
			[]string{`RateLimit-Policy: "calls";q=20;qu="concurrent-requests";w=60`, `RateLimit: "calls";r=3;t=5`},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 20, Remaining: 3, Family: "RateLimit"},
		},
		{
			"conversations beside an exhausted rate",
			[]string{`RateLimit-Policy: "calls";q=20;qu="concurrent-requests","rate";q=5;w=1`, `RateLimit: "rate";r=0;t=2,"calls";r=3`},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 20, Remaining: 3, Reset: 2 * time.Second, Family: "RateLimit"},
		},
		{
			"a policy alone tells the limit",
			[]string{`RateLimit-Policy: calls;q=20;qu="concurrent-requests"`},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 20, Remaining: -1, Family: "RateLimit"},
		},
		{
			"no unit means requests, which are a rate",
			[]string{`RateLimit: "default";r=3`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: 3, Family: "RateLimit"},
		},
		{
			"malformed structured fields do not exist",
			[]string{`RateLimit-Policy: "calls";q=20;qu=concurrent-requests`, `RateLimit: "calls";r=3,`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Unknown: []string{"RateLimit", "RateLimit-Policy"}},
		},
		{
			"a negative remainder is malformed",
			[]string{`RateLimit: "calls";r=-3`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Unknown: []string{"RateLimit"}},
		},
		{
			"concurrency family",
			[]string{"X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 0"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 20, Remaining: 0, Family: "X-Concurrency-*"},
		},
		{
			"a known unit wins over a guessed one, whatever the order",
			[]string{"X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 998", "X-Concurrency-Limit: 20", "X-Concurrency-Remaining: 4"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 20, Remaining: 4, Family: "X-Concurrency-*"},
		},
		{
			"what is in use",
			[]string{"current-concurrent-requests: 4", "maximum-concurrent-requests: 10"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 10, Remaining: 6, Family: "concurrent-requests"},
		},
		{
			"more in use than the maximum",
			[]string{"current-concurrent-requests: 14", "maximum-concurrent-requests: 10"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 10, Remaining: 0, Family: "concurrent-requests"},
		},
		{
			"a count of API requests moves nothing",
			[]string{"Twilio-Concurrent-Requests: 4"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Family: "Twilio-Concurrent-Requests"},
		},
		{
			"the operator's names",
			[]string{"Acme-Slots: 50", "Acme-Slots-Left: 8", "X-RateLimit-Limit: 10", "X-RateLimit-Remaining: 2"},
			ratelimiter.Names{Limit: "acme-slots", Remaining: "ACME-slots-left"},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: 50, Remaining: 8, Family: "named by the operator"},
		},
		{
			"the operator knows better than the family",
			[]string{"X-RateLimit-Limit: 50", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 3600"},
			ratelimiter.Names{Limit: "X-RateLimit-Limit", Remaining: "X-RateLimit-Remaining"},
			ratelimiter.Reading{
				Concurrency: true, UnitKnown: true, Limit: 50, Remaining: 0, Family: "named by the operator",
				Unknown: []string{"X-RateLimit-Reset"},
			},
		},
		{
			"the operator's reset makes a rate",
			[]string{"Quota: 50", "Quota-Left: 0", "Quota-Reset: 60"},
			ratelimiter.Names{Limit: "Quota", Remaining: "Quota-Left", Reset: "Quota-Reset"},
			ratelimiter.Reading{Limit: 50, Remaining: 0, Reset: time.Minute, Family: "named by the operator"},
		},
		{
			"absurd values are absent",
			[]string{"X-RateLimit-Limit: 1000001", "X-RateLimit-Remaining: -1", "X-Concurrency-Limit: 20.5", "X-Concurrency-Remaining: 99999999999999999999"},
			ratelimiter.Names{},
			ratelimiter.Reading{
				Limit: -1, Remaining: -1,
				Unknown: []string{"X-Concurrency-Limit", "X-Concurrency-Remaining", "X-RateLimit-Limit", "X-RateLimit-Remaining"},
			},
		},
		{
			"more remaining than the quota, and a quota that is none",
			[]string{`RateLimit-Policy: "a";q=20;w=5,"b";q=2000000`, `RateLimit: "a";r=21,"b";r=2000000`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1},
		},
		{
			"a policy without a quota, and a limit without a name",
			[]string{`RateLimit-Policy: "a";w=5`, `RateLimit: ?1;r=3`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Unknown: []string{"RateLimit", "RateLimit-Policy"}},
		},
		{
			"a window of nothing",
			[]string{`RateLimit-Policy: "a";q=5;w=0`},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Unknown: []string{"RateLimit-Policy"}},
		},
		{
			"of two counts of conversations the first one counts",
			[]string{"X-Concurrency-Remaining: 5", "current-concurrent-requests: 9", "maximum-concurrent-requests: 10"},
			ratelimiter.Names{},
			ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: -1, Remaining: 5, Family: "X-Concurrency-*"},
		},
		{
			"two numbers in one value",
			[]string{"X-RateLimit-Remaining: 3, 4"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Unknown: []string{"X-RateLimit-Remaining"}},
		},
		{
			"more remaining than the limit",
			[]string{"X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 21"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Unknown: []string{"X-RateLimit-Limit", "X-RateLimit-Remaining"}},
		},
		{
			"two different values are none, two equal ones are one",
			[]string{"X-RateLimit-Limit: 20", "X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 3", "x-ratelimit-remaining: 4"},
			ratelimiter.Names{},
			ratelimiter.Reading{
				Concurrency: true, Limit: 20, Remaining: -1, Family: "X-RateLimit-*",
				Unknown: []string{"x-ratelimit-remaining"},
			},
		},
		{
			"unknown headers that look like limits",
			[]string{"X-Throttled-By: acme", "x-quota-left: 3", "Server: acme", "Retry-After: later", tooLong + ": 1", "X-Limit\n: 1"},
			ratelimiter.Names{},
			ratelimiter.Reading{Limit: -1, Remaining: -1, Unknown: []string{"Retry-After", "x-quota-left", "X-Throttled-By"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ratelimiter.Parse(headers(tt.lines...), tt.names, noon)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse(%q): (-want +got)\n%s", tt.lines, diff)
			}
		})
	}
}

// H14: a family with a reset is a rate, whatever its numbers say.
func TestParseH14(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"X-RateLimit-", "RateLimit-", "X-Concurrency-"} {
		got := ratelimiter.Parse(headers(family+"Limit: 1000", family+"Remaining: 900", family+"Reset: 60"), ratelimiter.Names{}, noon)
		if got.Concurrency || got.UnitKnown {
			t.Errorf("%sReset: got %+v, want a rate", family, got)
		}
	}
}

func TestParseMoments(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name, date        string
		retryAfter, reset string
		wantRetry         time.Duration
		wantReset         time.Duration
	}{
		{"seconds", "", "30", "45", 30 * time.Second, 45 * time.Second},
		{"zero", "", "0", "0", 0, 0},
		{"fixed date", "", "Mon, 19 Oct 2026 12:00:10 GMT", "", 10 * time.Second, 0},
		{"date of RFC 850", "", "Monday, 19-Oct-26 12:00:11 GMT", "", 11 * time.Second, 0},
		{"date of asctime", "", "Mon Oct 19 12:00:12 2026", "", 12 * time.Second, 0},
		{"date in the past", "", "Mon, 19 Oct 2026 11:59:00 GMT", "", 0, 0},
		{"from the answer's own date", "Mon, 19 Oct 2026 21:00:00 GMT", "Mon, 19 Oct 2026 21:00:05 GMT", "1792443607", 5 * time.Second, 7 * time.Second},
		{"an impossible date is no reference", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 19 Oct 2026 12:00:05 GMT", "1792411207", 5 * time.Second, 7 * time.Second},
		{"epoch seconds", "", "", "1792411230", 0, 30 * time.Second},
		{"epoch milliseconds", "", "", "1792411230500", 0, 30*time.Second + 500*time.Millisecond},
		{"epoch in the past", "", "", "1792411100", 0, 0},
		{"neither seconds nor epoch", "", "", "500000000", 0, 0},
		{"never longer than a day", "", "99999999", "1892411200", day, day},
		{"huge", "", "999999999999999999", "99999999999999", day, day},
		{"overlong", "", "9999999999999999999", "999999999999999", 0, 0},
		{"negative", "", "-5", "-5", 0, 0},
		{"fraction", "", "1.5", "1.5", 0, 0},
		{"sign", "", "+5", "+5", 0, 0},
		{"words", "", "soon", "soon", 0, 0},
		{"empty", "", "", "", 0, 0},
		{"another zone", "", "Mon, 19 Oct 2026 12:00:10 CET", "", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := headers("X-RateLimit-Remaining: 0", "X-RateLimit-Reset: "+tt.reset, "Retry-After: "+tt.retryAfter, "Date: "+tt.date)
			got := ratelimiter.Parse(h, ratelimiter.Names{}, noon)
			if got.RetryAfter != tt.wantRetry || got.Reset != tt.wantReset || got.Concurrency {
				t.Errorf("got retry after %v, reset %v, concurrency %v, want %v, %v, false",
					got.RetryAfter, got.Reset, got.Concurrency, tt.wantRetry, tt.wantReset)
			}
		})
	}
}

func TestParseUnknownIsBounded(t *testing.T) {
	t.Parallel()
	h := map[string][]string{}
	for i := range 100 {
		h["X-Limit-"+strings.Repeat("a", i%50)+string(rune('a'+i/50))] = []string{"1"}
	}
	if got := len(ratelimiter.Parse(h, ratelimiter.Names{}, noon).Unknown); got != 16 {
		t.Errorf("unknown names: got %d, want 16", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("X-RateLimit-Limit", "20", "x-ratelimit-remaining", "3", "X-RateLimit-Reset", "1792411230500")
	f.Add("RateLimit-Policy", `"calls";q=20;qu="concurrent-requests"`, "RateLimit", `"calls";r=3`, "Retry-After", "Mon Oct 19 12:00:12 2026")
	f.Add("RateLimit-Limit", "100, 100;w=60", "RateLimit-Remaining", "7", "Date", "Monday, 19-Oct-26 12:00:11 GMT")
	f.Add("current-concurrent-requests", "14", "maximum-concurrent-requests", "10", "Retry-After", "-1")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		h := map[string][]string{}
		for _, p := range [][2]string{{n1, v1}, {n2, v2}, {n3, v3}} {
			h[p[0]] = append(h[p[0]], p[1])
		}
		before := maps.Clone(h)
		for _, names := range []ratelimiter.Names{{}, {Limit: n1, Remaining: n2, Reset: n3}} {
			r := ratelimiter.Parse(h, names, noon)
			checkReading(t, r)
			if diff := cmp.Diff(r, ratelimiter.Parse(h, names, noon)); diff != "" {
				t.Errorf("the same headers read twice: (-first +second)\n%s", diff)
			}
		}
		if diff := cmp.Diff(before, h); diff != "" {
			t.Errorf("the header was changed: (-before +after)\n%s", diff)
		}
	})
}

// checkReading checks what holds for every reading.
func checkReading(t *testing.T, r ratelimiter.Reading) {
	t.Helper()
	const day = 24 * time.Hour
	switch {
	case r.Limit < -1 || r.Limit > 1_000_000 || r.Remaining < -1 || r.Remaining > 1_000_000:
		t.Errorf("got absurd counts: %+v", r)
	case r.Limit >= 0 && r.Remaining > r.Limit:
		t.Errorf("got more remaining than the limit: %+v", r)
	case r.Reset < 0 || r.Reset > day || r.RetryAfter < 0 || r.RetryAfter > day:
		t.Errorf("got an absurd wait: %+v", r)
	case r.UnitKnown && !r.Concurrency:
		t.Errorf("got a known unit of a rate: %+v", r)
	case r.Family == "" && (r.Concurrency || r.Limit >= 0 || r.Remaining >= 0 || r.Reset > 0):
		t.Errorf("got numbers of no family: %+v", r)
	case len(r.Unknown) > 16 || len(slices.Compact(slices.Clone(r.Unknown))) != len(r.Unknown):
		t.Errorf("got too many or repeated unknown names: %+v", r)
	}
}
