package ratelimiter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/ratelimiter"
)

func TestParseBody(t *testing.T) {
	t.Parallel()
	none := ratelimiter.Reading{Limit: -1, Remaining: -1}
	told := func(limit, remaining int) ratelimiter.Reading {
		return ratelimiter.Reading{Limit: limit, Remaining: remaining, Concurrency: true, UnitKnown: true, Family: "body"}
	}
	both := ratelimiter.Paths{Limit: "l", Remaining: "r"}
	used := ratelimiter.Paths{Limit: "l", Current: "c"}
	tests := []struct {
		name, body string
		paths      ratelimiter.Paths
		want       ratelimiter.Reading
	}{
		{"members", `{"current_concurrency":3,"concurrency_limit":20}`, ratelimiter.Paths{Limit: "concurrency_limit", Current: "current_concurrency"}, told(20, 17)},
		{"deeper", `{"s":{"max":10,"left":4}}`, ratelimiter.Paths{Limit: "s.max", Remaining: "s.left"}, told(10, 4)},
		{"in an array", `{"limits":[{"n":1},{"n":7}]}`, ratelimiter.Paths{Limit: "limits.1.n"}, told(7, -1)},
		{"a string", `{"l":"20","r":"3"}`, both, told(20, 3)},
		{"more than the limit", `{"l":20,"c":25}`, used, told(20, 0)},
		{"remaining alone", `{"r":3}`, both, told(-1, 3)},
		{"remaining before current", `{"l":20,"r":3,"c":1}`, ratelimiter.Paths{Limit: "l", Remaining: "r", Current: "c"}, told(20, 3)},
		{"current without a limit", `{"c":3}`, used, none},
		{"remaining above the limit", `{"l":2,"r":3}`, both, none},
		{"no path", `{"l":20}`, ratelimiter.Paths{}, none},
		{"leads nowhere", `{"l":20}`, ratelimiter.Paths{Limit: "l.x"}, none},
		{"no such element", `{"l":[1]}`, ratelimiter.Paths{Limit: "l.1"}, none},
		{"no index", `{"l":[1]}`, ratelimiter.Paths{Limit: "l.-1"}, none},
		{"a fraction", `{"l":20.5}`, both, none},
		{"an exponent", `{"l":2e1}`, both, none},
		{"negative", `{"l":-1}`, both, none},
		{"absurd", `{"l":1000001}`, both, none},
		{"an object", `{"l":{}}`, both, none},
		{"true", `{"l":true}`, both, none},
		{"null", `null`, both, none},
		{"no JSON", `<html>`, both, none},
		{"nothing", ``, both, none},
		{"more than one", `{"l":20}{"l":30}`, both, none},
		{"too large", `{"l":20,"x":"` + strings.Repeat("x", 1<<20) + `"}`, both, none},
		{"a long path", strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), ratelimiter.Paths{Limit: strings.Repeat("a.", 16) + "a"}, none},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, ratelimiter.ParseBody([]byte(tt.body), tt.paths)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
	}
}

// FuzzParseBody checks that whatever is read makes sense.
func FuzzParseBody(f *testing.F) {
	f.Add([]byte(`{"l":20,"r":3}`), "l", "r", "")
	f.Add([]byte(`{"a":[{"l":"20"}],"c":4}`), "a.0.l", "", "c")
	f.Add([]byte(`[[[[1]]]]`), "0.0.0.0", ".", "a..b")
	f.Fuzz(func(t *testing.T, body []byte, limit, remaining, current string) {
		r := ratelimiter.ParseBody(body, ratelimiter.Paths{Limit: limit, Remaining: remaining, Current: current})
		switch {
		case r.Limit < -1 || r.Remaining < -1 || r.Limit > 1_000_000 || r.Remaining > 1_000_000:
			t.Errorf("got %+v, out of bounds", r)
		case r.Limit >= 0 && r.Remaining > r.Limit:
			t.Errorf("got %+v, more remaining than there are", r)
		case r.Concurrency != (r.Limit >= 0 || r.Remaining >= 0) || r.Concurrency != r.UnitKnown || r.Reset != 0 || r.RetryAfter != 0:
			t.Errorf("got %+v, want a count of conversations and nothing else", r)
		}
	})
}

func ExampleParseBody() {
	body := []byte(`{"subscriptionLimits":{"concurrencyLimit":10,"remainingConcurrentCalls":3}}`)
	r := ratelimiter.ParseBody(body, ratelimiter.Paths{
		Limit:     "subscriptionLimits.concurrencyLimit",
		Remaining: "subscriptionLimits.remainingConcurrentCalls",
	})
	fmt.Println(r.Limit, r.Remaining)
	// Output: 10 3
}
