package config_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
)

func TestOften(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("weir.yaml", []byte(withContact(`consent: data.consent
purpose: leads
once: 24h
caps: [{count: 3, per: 168h}]
cool_down: 48h
redial: {after: [30m, 4h], attempts: 4, on: [unanswered, failed]}`)), environment)
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Accounts[0].Lanes[0].Contact
	want := []config.Cap{{Count: 3, Per: 168 * time.Hour}}
	if got.Agreed == nil || got.Purpose != "leads" || got.Once != 24*time.Hour || got.CoolDown != 48*time.Hour || !cmp.Equal(want, got.Caps) || !got.Counts() {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]time.Duration{30 * time.Minute, 4 * time.Hour, 4 * time.Hour, 4 * time.Hour}, got.Redial.Waits()); diff != "" {
		t.Errorf("waits before redials (-want +got):\n%s", diff)
	}
	cfg, err = config.Parse("weir.yaml", []byte(withContact("redial: {after: [1m]}")), environment)
	if err != nil || !cfg.Accounts[0].Lanes[0].Contact.Counts() || !cmp.Equal([]string{"unanswered"}, cfg.Accounts[0].Lanes[0].Contact.Redial.On) {
		t.Errorf("redials alone: got %+v, %v", cfg, err)
	}
	cfg, err = config.Parse("weir.yaml", []byte(withContact("region: DE")), environment)
	if err != nil || cfg.Accounts[0].Lanes[0].Contact.Counts() || cfg.Accounts[0].Lanes[0].Contact.Agreed != nil {
		t.Errorf("without limits: got %+v, %v", cfg, err)
	}
}

func TestOftenProblems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, block, want string }{
		{"too short", "once: 30s", "weir.yaml:8:7: lanes[0].contact.once: must be between 1m and 720h"},
		{"too long", "once: 721h", "weir.yaml:8:7: lanes[0].contact.once: must be between 1m and 720h"},
		{"none", "cool_down: 0s", "weir.yaml:8:7: lanes[0].contact.cool_down: must be between 1m and 696h"},
		{"caps", "caps: [{count: 0}, {count: 51, per: 721h}, {per: 1h}]", lines(
			"weir.yaml:8:14: lanes[0].contact.caps[0].per: is missing",
			"weir.yaml:8:15: lanes[0].contact.caps[0].count: must be between 1 and 50",
			"weir.yaml:8:27: lanes[0].contact.caps[1].count: must be between 1 and 50",
			"weir.yaml:8:38: lanes[0].contact.caps[1].per: must be between 1m and 720h",
			"weir.yaml:8:50: lanes[0].contact.caps[2].count: is missing")},
		{"redials without a wait", "redial: {attempts: 3}", "weir.yaml:8:7: lanes[0].contact.redial.after: is missing"},
		{"no redials", "redial: {after: [], on: []}", lines(
			"weir.yaml:8:16: lanes[0].contact.redial.after: must have 1 to 10 waits, one for each redial",
			"weir.yaml:8:27: lanes[0].contact.redial.on: is empty: leave it out for unanswered")},
		{"redials", "redial: {after: [9s, 73h], attempts: 1, on: [busy, completed, failed, failed]}", lines(
			"weir.yaml:8:24: lanes[0].contact.redial.after[0]: must be between 10s and 72h",
			"weir.yaml:8:28: lanes[0].contact.redial.after[1]: must be between 10s and 72h",
			"weir.yaml:8:34: lanes[0].contact.redial.attempts: must be between 2 and 10",
			"weir.yaml:8:52: lanes[0].contact.redial.on[0]: is told by no provider: to whom it happened, a call ended unanswered or failed",
			"weir.yaml:8:58: lanes[0].contact.redial.on[1]: must be unanswered or failed",
			"weir.yaml:8:77: lanes[0].contact.redial.on[3]: is there already")},
		{"purpose", "purpose: All Leads", "weir.yaml:8:7: lanes[0].contact.purpose: must be 1 to 32 of a-z, 0-9 and -"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("weir.yaml", []byte(withContact(tt.block)), environment)
			var problems config.Problems
			if !errors.As(err, &problems) || err.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
	_, err := config.Parse("weir.yaml", []byte(withContact("consent: data.")), environment)
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Path != "lanes[0].contact.consent" {
		t.Errorf("an expression that is none: got %v", err)
	}
}
