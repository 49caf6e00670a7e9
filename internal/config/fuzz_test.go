package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/config"
)

// Whatever the file holds: no panic, and either a usable Config or problems
// that each say where and what.
func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add(twins)
	f.Add(calls)
	f.Add(houses)
	if example, err := os.ReadFile("../../examples/weir.yaml"); err == nil {
		f.Add(string(example))
	}
	for _, text := range []string{
		"", "---", "--- \n...\n---\n", "a: &a [*a]", "? {a: b}\n: c", "<<: {a: b}", "lanes: [[[[[", "lanes: [{routes: [{request: {a: {b: [1, 1.5, .inf, null, 2020-01-01]}}}]}]",
		"lanes:\n- name: !!str x\n  url: 'http://[::1]:80%'", "%YAML 1.1\n---\nlanes: ~", "\ufeffadmin: {listen: '[::1]:0'}", "broker: {url: 'nats://%41@x'}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := config.Parse("weir.yaml", []byte(text), environment)
		if err == nil {
			checkUsable(t, cfg)
			return
		}
		problems, ok := errors.AsType[config.Problems](err)
		if !ok || len(problems) == 0 || len(problems) > 101 || cfg != nil {
			t.Fatalf("Parse: got %v and %T of %d, want no Config and 1 to 101 Problems", cfg, err, len(problems))
		}
		for _, p := range problems {
			if p.Text == "" || strings.Contains(p.Path, "\n") || p.Line < 0 || p.Line > strings.Count(text, "\n")+len(text)+2 {
				t.Errorf("problem: got %+v, want a text, a path of one line and a line of the file", p)
			}
		}
	})
}

func checkUsable(t *testing.T, cfg *config.Config) {
	t.Helper()
	if (cfg.Broker == nil) == (cfg.Embedded == nil) || len(cfg.Accounts) == 0 || cfg.Catalog == nil {
		t.Fatalf("Config: got %+v, want one broker, a catalog and an account", cfg)
	}
	names := map[string]bool{}
	for _, a := range cfg.Accounts {
		if len(a.Lanes) == 0 || a.Limit < 1 || a.Timeout <= 0 || a.URL == "" {
			t.Errorf("account: got %+v, want lanes, a limit, a time-out and a URL", a)
		}
		if a.Limits[a.LimitChannel()] != a.Limit || a.TakesID() != (a.VisibleAfter > 0) {
			t.Errorf("account: got limits %v, limit %d and %v, want one limit, and a delay where our id is taken", a.Limits, a.Limit, a.VisibleAfter)
		}
		for _, l := range a.Lanes {
			if l.Batch < 1 || l.Attempts < 1 || l.Doubt != config.Park && (l.Doubt != config.Resend || !a.TakesID()) {
				t.Errorf("lane: got %+v, want a batch, attempts and a rule for doubts that the provider allows", l)
			}
			if names[l.Name] || l.Name == "" || l.Routes == nil || l.MaxEvent < config.KiB {
				t.Errorf("lane: got %+v, want a name of its own, routes and a size", l)
			}
			names[l.Name] = true
		}
	}
}
