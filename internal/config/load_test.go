package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// small is a file with what must be in one; tests replace parts of it.
const small = `lanes:
  - name: acme
    provider: oration
    url: https://voice.example/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
    limit: 20
    routes:
      - type: lead.created
        request:
          toPhoneNumber: ${ data.phone }
`

// environment holds what the tests' files look up.
func environment(name string) string {
	return map[string]string{
		"KEY": "key-of-acme", "WORKSPACE": "11111111-1111-4111-8111-111111111111",
		"KEY2": "key-of-globex", "WORKSPACE2": "22222222-2222-4222-8222-222222222222",
		"BEARER": "bearer-of-acme", "PUBLIC": "public-of-acme", "TOKEN": "token-of-nats", "SHORT": "too-short", "SYSTEM": "password-of-system",
		"LINES": "one\ntwo",
		"AK":    "ak_1.key-of-initech", "AK2": "ak_2.key-of-hooli", "PAT": "pat_token-of-ana", "OTHER": "token-of-no-kind",
		"ORGANIZATION": "org_Initech", "ORGANIZATION2": "org_Hooli",
	}[name]
}

// edit replaces old, which must be there, in text.
func edit(t *testing.T, text, old, replacement string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("the text to edit does not hold %q", old)
	}
	return strings.Replace(text, old, replacement, 1)
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("weir.yaml", []byte(text), environment)
	if err != nil {
		t.Fatalf("Parse: got %v, want no error", err)
	}
	return cfg
}

// plain compares all but compiled routes, which only their package can.
var plain = cmp.Options{cmpopts.IgnoreFields(config.Lane{}, "Routes", "Sources"), cmpopts.IgnoreFields(config.Config{}, "File", "Catalog")}

// defaults are an account's settings as the smallest file leaves them.
func defaults() config.Settings {
	return config.Settings{
		Provider: "oration", URL: "https://voice.example/api/v2",
		Auth:  config.Auth{APIKey: "key-of-acme", WorkspaceID: "11111111-1111-4111-8111-111111111111"},
		Limit: 20, Limits: map[string]int{"": 20}, Pacing: config.Pacing{Preset: "frugal", MeanCall: 75 * time.Second, Probe: "auto"},
		Timeout: 15 * time.Second, MaxCall: time.Hour,
		FullWhen: []string{"concurren", "capacity", "slot", "limit", "busy", "too many"},
		Breaker:  config.Breaker{Failures: 5, Open: 12 * time.Second},
	}
}

func TestParseFillsInDefaults(t *testing.T) {
	t.Parallel()
	got := parse(t, edit(t, small, "    limit: 20\n", ""))
	want := &config.Config{
		Embedded: &config.Embedded{Dir: "weir-data", Listen: "127.0.0.1:0"},
		Ledger:   config.Ledger{Keep: 2160 * time.Hour},
		Events:   config.Events{Keep: 168 * time.Hour},
		Outcomes: config.ToldOutcomes{Keep: 720 * time.Hour},
		Accounts: []config.Account{{
			Name: "acme", Settings: defaults(),
			Lanes: []config.Lane{{
				Name: "acme", Label: "acme", Weight: 1, Batch: 20, DoubtLimit: 5,
				MaxEvent: 256 * config.KiB, Doubt: "park", Attempts: 5, ExpireAfter: 72 * time.Hour, Send: true,
			}},
		}},
	}
	if diff := cmp.Diff(want, got, plain); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	if got.Accounts[0].Lanes[0].Routes == nil {
		t.Error("Routes: got nil, want the compiled routes")
	}
	if diff := cmp.Diff(schema.NewCatalog().Types(), got.Catalog.Types()); diff != "" {
		t.Errorf("Catalog, types (-want +got):\n%s", diff)
	}
}

func TestParseReadsEveryKey(t *testing.T) {
	t.Parallel()
	const text = `
broker:
  urls: [tls://a.example:4222, "tls://b.example"]
  user: weir
  password: {env: TOKEN}
  domain: hub_1
  inbox: _INBOX_weir
  replicas: 3
  ack_wait: 1m30s
  monitors: ["http://127.0.0.1:8222", "https://b.example/nats"]
admin: {listen: "LocalHost:8092", open: true}
ledger: {keep: 1000h}
events: {keep: 96h}
dead: {keep: 2000h}
outcomes: {keep: 200h}
lanes:
  - name: acme-sales
    label: Acme, Verkauf
    provider: oration
    url: http://127.0.0.1:8077/api/v2/
    auth: {bearer: {env: BEARER}, public_key: {env: PUBLIC}}
    limit: 40
    limit_max: 50
    reserve: 4
    batch: 10
    timeout: 10s
    max_call: 20m
    doubt_limit: 0
    max_event: 16KiB
    pacing: {preset: tight, mean_call: 90s, probe: get}
    full_when: [no line]
    refused_statuses: [503]
    headers: {limit: X-Lines, remaining: X-Lines-Free, reset: X-Lines-Reset}
    breaker: {failures: 3, open: 5s}
    doubt: park
    send: false
    routes:
      - type: lead.created
        when: has(data.email)
        request: {toPhoneNumber: "${ data.phone }"}
`
	want := &config.Config{
		Broker: &config.Broker{
			URLs: []string{"tls://a.example:4222", "tls://b.example"}, User: "weir",
			Password: "token-of-nats", Domain: "hub_1", Inbox: "_INBOX_weir", Replicas: 3, AckWait: 90 * time.Second,
			Monitors: []string{"http://127.0.0.1:8222", "https://b.example/nats"},
		},
		Admin:  config.Admin{Listen: "LocalHost:8092", Open: true},
		Ledger: config.Ledger{Keep: 1000 * time.Hour},
		Events: config.Events{Keep: 96 * time.Hour}, Dead: config.Dead{Keep: 2000 * time.Hour}, Outcomes: config.ToldOutcomes{Keep: 200 * time.Hour},
		Accounts: []config.Account{{
			Name: "acme-sales",
			Settings: config.Settings{
				Provider: "oration", URL: "http://127.0.0.1:8077/api/v2",
				Auth:  config.Auth{Bearer: "bearer-of-acme", PublicKey: "public-of-acme"},
				Limit: 40, Limits: map[string]int{"": 40}, LimitMax: 50, Reserve: 4,
				Pacing:  config.Pacing{Preset: "tight", MeanCall: 90 * time.Second, Probe: "get"},
				Timeout: 10 * time.Second, MaxCall: 20 * time.Minute,
				FullWhen: []string{"no line"}, RefusedStatuses: []int{503},
				Headers: config.Headers{Limit: "X-Lines", Remaining: "X-Lines-Free", Reset: "X-Lines-Reset"},
				Breaker: config.Breaker{Failures: 3, Open: 5 * time.Second},
			},
			Lanes: []config.Lane{{
				Name: "acme-sales", Label: "Acme, Verkauf", Weight: 1, Batch: 10,
				MaxEvent: 16 * config.KiB, Doubt: "park", Attempts: 5, ExpireAfter: 72 * time.Hour,
			}},
		}},
	}
	if diff := cmp.Diff(want, parse(t, text), plain); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParsePutsLanesToTheirAccounts(t *testing.T) {
	t.Parallel()
	const route = `routes: [{type: lead.created, request: {toPhoneNumber: "${ data.phone }"}}]`
	got := parse(t, `
accounts:
  - name: house
    provider: oration
    url: https://voice.example/api/v2
    auth: {bearer: {env: BEARER}}
    max_call: 30m
lanes:
  - {name: north, account: house, weight: 3, `+route+`}
  - {name: own, provider: oration, url: "https://voice.example/api/v2", auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}, `+route+`}
  - {name: south, account: house, batch: 5, `+route+`}
`)
	type lane struct {
		name          string
		weight, batch int
	}
	lanes := map[string][]lane{}
	for _, a := range got.Accounts {
		for _, l := range a.Lanes {
			lanes[a.Name] = append(lanes[a.Name], lane{l.Name, l.Weight, l.Batch})
		}
	}
	want := map[string][]lane{"house": {{"north", 3, 20}, {"south", 1, 5}}, "own": {{"own", 1, 20}}}
	if diff := cmp.Diff(want, lanes, cmp.AllowUnexported(lane{})); diff != "" {
		t.Errorf("lanes by account (-want +got):\n%s", diff)
	}
	if names := []string{got.Accounts[0].Name, got.Accounts[1].Name}; names[0] != "house" || names[1] != "own" {
		t.Errorf("order of accounts: got %v, want [house own]", names)
	}
	if got := got.Accounts[0].MaxCall; got != 30*time.Minute {
		t.Errorf("max_call of house: got %v, want 30m", got)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "key.txt"), "from-a-file\r\n\n")
	write(t, filepath.Join(dir, "nats.creds"), "creds")
	write(t, filepath.Join(dir, "ca.pem"), "ca")
	text := "broker: {url: nats://127.0.0.1, creds: nats.creds, tls: {ca: " + filepath.Join(dir, "ca.pem") + "}}\n" +
		edit(t, small, "api_key: {env: KEY}", "api_key: {file: key.txt}")
	write(t, filepath.Join(dir, "weir.yaml"), text)
	got, err := config.Load(filepath.Join(dir, "weir.yaml"), environment)
	if err != nil {
		t.Fatalf("Load: got %v, want no error", err)
	}
	if key := got.Accounts[0].Auth.APIKey.Reveal(); key != "from-a-file" {
		t.Errorf("api_key: got %q, want %q", key, "from-a-file")
	}
	if want := filepath.Join(dir, "nats.creds"); got.Broker.Creds != want {
		t.Errorf("creds: got %q, want %q", got.Broker.Creds, want)
	}
	if want := filepath.Join(dir, "ca.pem"); got.Broker.TLS.CA != want {
		t.Errorf("ca: got %q, want %q", got.Broker.TLS.CA, want)
	}
	write(t, filepath.Join(dir, "embedded.yaml"), "embedded: {dir: data, token: {env: TOKEN}}\n"+small)
	got, err = config.Load(filepath.Join(dir, "embedded.yaml"), environment)
	if err != nil {
		t.Fatalf("Load: got %v, want no error", err)
	}
	want := &config.Embedded{Dir: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Token: "token-of-nats"}
	if diff := cmp.Diff(want, got.Embedded); diff != "" {
		t.Errorf("Embedded (-want +got):\n%s", diff)
	}
}

func TestLoadNamesAMissingFile(t *testing.T) {
	t.Parallel()
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), environment)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load: got %v, want fs.ErrNotExist", err)
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		t.Errorf("Load: got Problems %v, want an error of another type", err)
	}
}

// A command that only talks to the broker runs where the providers'
// credentials are not.
func TestLoadBrokerNeedsNoProviderSecrets(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "weir.yaml")
	_, second, _ := strings.Cut(edit(t, small, "acme", "globex"), "\n")
	write(t, name, "embedded: {token: {env: TOKEN}}\n"+small+second)
	only := func(name string) string {
		if name != "TOKEN" {
			t.Errorf("environment: got a look at %s, want only TOKEN", name)
		}
		return environment(name)
	}
	got, err := config.LoadBroker(name, only)
	if err != nil {
		t.Fatalf("LoadBroker: got %v, want no error", err)
	}
	if got.Embedded.Token.Reveal() != "token-of-nats" || got.Accounts[0].Auth != (config.Auth{}) {
		t.Errorf("LoadBroker: got token %q and auth of %d letters, want the token and no auth",
			got.Embedded.Token.Reveal(), len(got.Accounts[0].Auth.APIKey.Reveal()))
	}
	write(t, name, edit(t, small, "limit: 20", "limit: 0"))
	if _, err := config.LoadBroker(name, only); err == nil {
		t.Error("LoadBroker with limit 0: got no error, want one")
	}
}

// A command that talks to nobody runs where nothing is that the file names.
func TestLoadBlindNeedsNothingThatTheFileNames(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "weir.yaml")
	_, second, _ := strings.Cut(edit(t, small, "acme", "globex"), "\n")
	text := "broker: {url: nats://127.0.0.1, creds: none.creds}\n" +
		"gateway: {listen: 127.0.0.1:0, token: {file: none.token}, tls: {cert: none.pem, key: none.pem}}\n" + small + second
	nothing := func(name string) string {
		t.Errorf("environment: got a look at %s, want none", name)
		return ""
	}
	write(t, name, text)
	got, err := config.LoadBlind(name, nothing)
	if err != nil {
		t.Fatalf("LoadBlind: got %v, want no error", err)
	}
	want := config.Auth{APIKey: config.Unseen, WorkspaceID: config.Unseen}
	if len(got.Accounts) != 2 || got.Accounts[1].Auth != want {
		t.Errorf("LoadBlind: got %d accounts, want two with *** for each credential that is given", len(got.Accounts))
	}
	write(t, name, edit(t, small, "limit: 20", "limit: 0"))
	if _, err := config.LoadBlind(name, nothing); err == nil {
		t.Error("LoadBlind with limit 0: got no error, want one")
	}
}

func TestConfigPrintsWithoutSecrets(t *testing.T) {
	t.Parallel()
	_, second, _ := strings.Cut(calls, "\n")
	cfg := parse(t, "broker: {url: nats://127.0.0.1, token: {env: TOKEN}, system: {user: u, password: {env: SYSTEM}}}\n"+edit(t, small,
		"workspace_id: {env: WORKSPACE}}", "workspace_id: {env: WORKSPACE}, public_key: {env: PUBLIC}}")+second)
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatalf("Marshal: got %v, want no error", err)
	}
	for form, text := range map[string]string{
		"json": string(asJSON),
		"%v":   fmt.Sprintf("%v %v", cfg, *cfg.Broker),
		"%+v":  fmt.Sprintf("%+v %+v", cfg, *cfg.Broker),
		"%#v":  fmt.Sprintf("%#v %#v", cfg, *cfg.Broker),
	} {
		for _, name := range []string{"KEY", "WORKSPACE", "PUBLIC", "TOKEN", "SYSTEM", "PAT", "ORGANIZATION"} {
			if strings.Contains(text, environment(name)) {
				t.Errorf("%s: got the value of %s in %s", form, name, text)
			}
		}
		if !strings.Contains(text, "voice.example") {
			t.Errorf("%s: got no url in %s", form, text)
		}
	}
}

func TestPacingEpsilon(t *testing.T) {
	t.Parallel()
	for preset, want := range map[string]float64{"frugal": 0.025, "tight": 0.01} {
		if got := (config.Pacing{Preset: preset}).Epsilon(); got != want {
			t.Errorf("Epsilon of %s: got %v, want %v", preset, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"0": 0, "1": 1, "512": 512, "1KiB": 1024, "256 KiB": 256 * config.KiB, "8MiB": 8 * config.MiB,
	} {
		got, err := config.ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q): got %d and %v, want %d", text, got, err, want)
		}
		if back, err := config.ParseSize(got.String()); err != nil || back != got {
			t.Errorf("ParseSize(%q): got %d and %v, want %d again", got.String(), back, err, got)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "1KB", "1k", "99999999999", "+1", "1 2"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q): got %d, want an error", text, got)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
