package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/simulator"
)

// plant is a place to run commands in: a weir.yaml with an embedded broker of
// its own and a simulated provider on loopback.
type plant struct {
	yaml  string
	store string
	sim   *simulator.Simulator
	url   string // of the provider
	env   map[string]string
}

const plantRoute = `        request:
          agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
`

// newPlant starts the provider and writes a weir.yaml with these lanes.
func newPlant(t *testing.T, lanes ...string) *plant {
	t.Helper()
	return newPlantOf(t, simulator.Config{}, lanes...)
}

// newPlantOf is newPlant with a provider of its own kind.
func newPlantOf(t *testing.T, cfg simulator.Config, lanes ...string) *plant {
	t.Helper()
	cfg.Limit, cfg.Scale, cfg.Seed = 8, 200, max(cfg.Seed, 1)
	sim, err := simulator.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(background(t, func(ctx context.Context) error { return sim.Serve(ctx, ln) }))
	dir := t.TempDir()
	p := &plant{
		yaml: filepath.Join(dir, "weir.yaml"), store: filepath.Join(dir, "store"), sim: sim,
		url: "http://" + ln.Addr().String() + "/api/v2",
		env: map[string]string{"KEY": "k", "WORKSPACE": "w", "USER": "ana"},
	}
	p.configure(t, plantRoute, lanes...)
	return p
}

// configure writes the weir.yaml.
func (p *plant) configure(t *testing.T, route string, lanes ...string) {
	t.Helper()
	var y strings.Builder
	fmt.Fprintf(&y, "embedded: {dir: %q}\naccounts:\n  - name: acme\n    provider: oration\n    url: %s\n", p.store, p.url)
	fmt.Fprintf(&y, "    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}\n    limit: 8\n    timeout: 10s\n    max_call: %s\n", p.sim.MaxCall()+time.Second)
	y.WriteString("lanes:\n")
	for _, lane := range lanes {
		fmt.Fprintf(&y, "  - name: %s\n    account: acme\n    routes:\n      - type: lead.created\n%s", lane, route)
	}
	if err := os.WriteFile(p.yaml, []byte(y.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a text in the weir.yaml, which must be there.
func (p *plant) edit(t *testing.T, old, replacement string) {
	t.Helper()
	text, err := os.ReadFile(p.yaml)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("weir.yaml (%v) does not hold %q:\n%s", err, old, text)
	}
	if err := os.WriteFile(p.yaml, []byte(strings.Replace(string(text), old, replacement, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// background runs f until the returned function ends it.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// broker starts the embedded broker with its streams, and no weir serve.
func (p *plant) broker(t *testing.T) *service {
	t.Helper()
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s, err := startBroker(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serve runs weir serve until the returned function ends it.
func (p *plant) serve(t *testing.T, lanes ...string) (stop func()) {
	t.Helper()
	stop = background(t, func(ctx context.Context) error {
		_, stderr, err := weir(ctx, p.env, "serve", "-c", p.yaml, "--log-level", "error")
		if err != nil {
			t.Log(stderr)
		}
		return err
	})
	await(t, patience, "weir serve to run its lanes", func() bool {
		stdout, _, err := weir(t.Context(), p.env, "lanes", "-c", p.yaml, "--output", "json")
		return err == nil && strings.Count(stdout, `"state"`) == len(lanes) && !strings.Contains(stdout, notRunning)
	})
	return stop
}

// weir runs a command that must succeed and returns what it printed.
func (p *plant) weir(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := weir(t.Context(), p.env, append(args, "-c", p.yaml)...)
	if err != nil {
		t.Fatalf("weir %s: got error %v, want none; it said:\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// refused runs a command that must fail, with a text in its error, and returns
// what it printed and its exit code.
func (p *plant) refused(t *testing.T, want string, args ...string) (printed string, code int) {
	t.Helper()
	stdout, stderr, err := weir(t.Context(), p.env, append(args, "-c", p.yaml)...)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("weir %s: got error %v, want one with %q", strings.Join(args, " "), err, want)
	}
	var said syncBuffer
	return stdout + stderr, exitCode(err, &said)
}

// decoded reads a command's JSON.
func decoded[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("got no JSON: %v\n%s", err, text)
	}
	return v
}

// lead is one event as a line of a file. An empty phone is left out.
func lead(id, phone, more string) string {
	data := fmt.Sprintf(`{"id":%q,"phone":%q}`, id, phone)
	if phone == "" {
		data = fmt.Sprintf(`{"id":%q}`, id)
	}
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created",%s"datacontenttype":"application/json","data":%s}`, id, more, data)
}

// file writes lines into a file of the plant.
func (p *plant) file(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(p.yaml), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// contains fails for each text that is not there.
func contains(t *testing.T, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("got:\n%s\nwant it to contain %q", got, want)
		}
	}
}
