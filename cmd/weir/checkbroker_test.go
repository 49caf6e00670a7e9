package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// foreign starts a nats-server of the user's own, with a system account and a
// monitor.
func foreign(t *testing.T, always bool) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	const text = "system_account: S\naccounts: {A: {users: [{user: u, password: open-sesame}], jetstream: enabled}, S: {users: [{user: sys, password: shibboleth}]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.ServerName, opts.Host, opts.Port, opts.HTTPHost, opts.HTTPPort = "mine", "127.0.0.1", -1, "127.0.0.1", -1
	opts.NoLog, opts.NoSigs, opts.JetStream, opts.StoreDir, opts.SyncAlways = true, true, true, t.TempDir(), always
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the broker is not ready")
	}
	return s
}

// on makes the plant use a broker of the user's own.
func (p *plant) on(t *testing.T, s *server.Server, more string) {
	t.Helper()
	p.env["PASSWORD"], p.env["SYSTEM"] = "open-sesame", "shibboleth"
	y, err := os.ReadFile(p.yaml)
	if err != nil {
		t.Fatal(err)
	}
	block := fmt.Sprintf("broker: {url: %q, user: u, password: {env: PASSWORD}%s}", s.ClientURL(), more)
	_, rest, _ := strings.Cut(string(y), "\n") // the first line is the embedded broker's
	if err := os.WriteFile(p.yaml, []byte(block+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
}

func monitored(s *server.Server) string {
	return ", monitor: 'http://" + s.MonitorAddr().String() + "'"
}

const bySystem = ", system: {user: sys, password: {env: SYSTEM}}"

// Fault 23: a broker that may forget what it confirmed fails the check, whoever
// says so; one of which nobody knows is a warning, which fails nothing.
func TestFault23CheckAsksForTheSyncSetting(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		always bool
		watch  func(*server.Server) string
		want   checked // as far as its fields are set
		fails  bool
	}{
		"monitor":         {watch: monitored, want: checked{Result: checkFail, Detail: "people are called again", Next: "set sync_interval: always"}, fails: true},
		"system":          {watch: func(*server.Server) string { return bySystem }, want: checked{Result: checkFail, Detail: "mine writes to the disk every 2m0s"}, fails: true},
		"monitor, always": {always: true, watch: monitored, want: checked{Result: checkOK, Detail: "the server writes each message to the disk before it confirms it"}},
		"unknown":         {watch: func(*server.Server) string { return "" }, want: checked{Result: checkWarn, Detail: "not known", Next: "broker.monitor"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := foreign(t, tt.always), newPlant(t, "sales")
			p.on(t, s, tt.watch(s))
			stdout, stderr, err := weir(t.Context(), p.env, "check", "-c", p.yaml, "--output", "json")
			if (err != nil) != tt.fails {
				t.Errorf("got error %v, want one: %v\n%s%s", err, tt.fails, stdout, stderr)
			}
			var got checked
			for _, line := range decoded[[]checked](t, stdout) {
				if line.Check == "sync" {
					got = line
				}
			}
			if got.Result != tt.want.Result || !strings.Contains(got.Detail, tt.want.Detail) || !strings.Contains(got.Next, tt.want.Next) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			for _, secret := range []string{"open-sesame", "shibboleth"} {
				if strings.Contains(stdout+stderr+fmt.Sprint(err), secret) {
					t.Errorf("%s was printed:\n%s%s", secret, stdout, stderr)
				}
			}
		})
	}
}

// What is wrong is said all at once: the broker, the clock and the provider.
func TestCheckSaysEverythingAtOnce(t *testing.T) {
	t.Parallel()
	s, p := foreign(t, false), newPlant(t, "sales")
	p.on(t, s, ", replicas: 3"+monitored(s))
	printed, code := p.refused(t, "3 of ", "check")
	contains(t, printed,
		"problem  replicas       broker.replicas is 3, and the broker is a single server; connect to a cluster, or set broker.replicas to 1\n",
		"problem  replicas       broker.replicas is 3, and the cluster has 1 servers; add servers, or lower broker.replicas\n",
		"problem  sync           ",
		"warning  streams        will be made by weir serve: KV_WEIR_LEDGER, WEIR_EVENTS",
		"ok       clock          this machine's clock agrees with "+s.MonitorAddr().String()+"'s\n",
		"ok       account acme   ")
	if code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
}

func TestCheckOfABrokerThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := foreign(t, true)
	p.on(t, s, "")
	p.env["PASSWORD"] = "wrong"
	printed, _ := p.refused(t, "1 of ", "check")
	contains(t, printed, "problem  broker", "Authorization Violation; see that it runs, and that the broker block names it and its credentials\n", "ok       account acme")
}

// Fault 23: weir serve says so too, and works.
func TestFault23ServeSaysWhatAPowerCutCosts(t *testing.T) {
	t.Parallel()
	s, p := foreign(t, false), newPlant(t, "sales")
	p.on(t, s, monitored(s))
	var said syncBuffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"serve", "-c", p.yaml}, strings.NewReader(""), &said, &said, func(name string) string { return p.env[name] })
	}()
	await(t, patience, "the warning", func() bool {
		return strings.Contains(said.String(), "a power cut may cost confirmed events") && strings.Contains(said.String(), `"level":"error"`)
	})
	await(t, patience, "the lane", func() bool {
		stdout, _, err := weir(t.Context(), p.env, "lanes", "-c", p.yaml)
		return err == nil && strings.Contains(stdout, "running") && !strings.Contains(stdout, notRunning)
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The provider's clock, by the Date of its answer: one that is kept by something
// on the way says nothing.
func TestCheckComparesTheProvidersClock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		behind time.Duration
		age    string
		want   string
	}{
		"agrees":     {0, "", "ok       clock          this machine's clock agrees with account acme's\n"},
		"a minute":   {time.Minute, "", "problem  clock          this machine's clock is "},
		"some":       {10 * time.Second, "", "warning  clock          this machine's clock is "},
		"kept":       {time.Minute, "60", "ok       account acme"},
		"a year off": {-365 * 24 * time.Hour, "", "behind account acme's; what depends on the time of day waits; set both clocks by NTP\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(-tt.behind).UTC().Format(http.TimeFormat))
				if tt.age != "" {
					w.Header().Set("Age", tt.age)
				}
				w.WriteHeader(http.StatusNotFound)
				fmt.Fprint(w, `{"message": "not found"}`)
			}))
			t.Cleanup(web.Close)
			p := newPlant(t, "sales")
			p.url = web.URL
			p.configure(t, plantRoute, "sales")
			stdout, _, err := weir(t.Context(), p.env, "check", "-c", p.yaml)
			contains(t, stdout, tt.want)
			if tt.age != "" && strings.Contains(stdout, "clock") {
				t.Errorf("got\n%swant no word on the clock", stdout)
			}
			if far := tt.behind.Abs() > 30*time.Second && tt.age == ""; (err != nil) != far {
				t.Errorf("got error %v, want one: %v", err, far)
			}
		})
	}
}

func TestZonesThatAreMissing(t *testing.T) {
	t.Parallel()
	c := &checklist{}
	c.zones(func(string) (*time.Location, error) { return nil, errors.New("unknown time zone") })
	if len(c.lines) != 1 || c.lines[0].Result != checkFail || !strings.Contains(c.lines[0].Next, "tzdata") {
		t.Errorf("got %+v, want one problem", c.lines)
	}
}

// weir serve names the events that nobody will take.
func TestServeNamesEventsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	var log bytes.Buffer
	s.lg = zerolog.New(&log)
	if err := s.strays(t.Context()); err != nil || log.Len() > 0 {
		t.Errorf("with nothing astray: got %v, %s", err, log.String())
	}
	for _, subject := range []string{"weir.events.Sales", "weir.events.salse", "weir.events.sales"} {
		if _, err := s.broker.JetStream().Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.strays(t.Context()); err != nil {
		t.Fatal(err)
	}
	contains(t, log.String(),
		`"level":"error"`, "subjects events were confirmed that no lane reads, on weir.events.Sales (1)",
		`"level":"warn"`, "lanes events wait for lanes that the configuration does not have: salse (1)")
}
