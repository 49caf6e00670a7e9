package delivery_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/delivery"
)

// Each status there is has one meaning.
func TestJudge(t *testing.T) {
	t.Parallel()
	want := func(status int) delivery.Fault {
		switch {
		case status >= 200 && status <= 299:
			return delivery.Delivered
		case status == 410:
			return delivery.Gone
		case status < 400 || status >= 500:
			return delivery.Endpoint
		}
		switch status {
		case 401, 402, 403, 404, 405, 407, 408, 421, 425, 426, 429, 499:
			return delivery.Endpoint
		}
		return delivery.Own
	}
	for status := range 1000 {
		got := delivery.Judge(status, nil, time.Now())
		if got.Fault != want(status) {
			t.Errorf("status %d: got %v, want %v", status, got.Fault, want(status))
		}
		if got.Fault != delivery.Delivered && !strings.HasPrefix(got.Reason, "status ") {
			t.Errorf("status %d: got reason %q", status, got.Reason)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 120 ": 2 * time.Minute, "3600": time.Hour, "3601": time.Hour,
		"18446744073709551615": time.Hour, "99999999999999999999999": time.Hour, "-1": 0, "1.5": 0, "soon": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat):    90 * time.Second,
		now.Add(-90 * time.Second).Format(http.TimeFormat):   0,
		now.Add(90 * 24 * time.Hour).Format(http.TimeFormat): time.Hour,
	} {
		header := http.Header{"Retry-After": {value}}
		if got := delivery.Judge(503, header, now).After; got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}
