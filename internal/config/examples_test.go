package config_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// example loads examples/weir.yaml as a shell with the simulator's credentials
// would.
func example(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Load("../../examples/weir.yaml", func(name string) string {
		return map[string]string{"ORATION_API_KEY": "k", "ORATION_WORKSPACE_ID": "w", "WEIR_GATEWAY_TOKEN": "any-token-of-yours"}[name]
	})
	if err != nil {
		t.Fatalf("Load: got %v, want no error", err)
	}
	return cfg
}

func TestExampleLoads(t *testing.T) {
	t.Parallel()
	cfg := example(t)
	account := cfg.Accounts[0]
	if len(cfg.Accounts) != 1 || len(account.Lanes) != 1 || account.Name != "acme-sales" || account.Limit != 20 {
		t.Errorf("accounts: got %+v, want acme-sales alone with limit 20", cfg.Accounts)
	}
	if account.URL != "http://127.0.0.1:8077/api/v2" || account.Lanes[0].MaxEvent != 16*config.KiB {
		t.Errorf("got %s and %v, want the simulator and 16KiB", account.URL, account.Lanes[0].MaxEvent)
	}
	if cfg.Embedded == nil || cfg.Embedded.Dir != "../../examples/weir-data" {
		t.Errorf("embedded: got %+v, want weir-data beside the file", cfg.Embedded)
	}
}

// expectation is one entry of examples/expected.json.
type expectation struct {
	Line  int    `json:"line"`
	Want  string `json:"want"`
	Class string `json:"class"`
}

// message is a line of examples/leads.ndjson that is not a CloudEvent itself.
type message struct {
	Headers map[string]string `json:"headers"`
	Data    json.RawMessage   `json:"data"`
	Body    *string           `json:"body"`
}

// Each line becomes what expected.json says, as far as that can be told without
// a broker and a provider.
func TestExampleLeadsAreWhatIsExpected(t *testing.T) {
	t.Parallel()
	lines, expected := readExamples(t)
	if len(lines) != len(expected) {
		t.Fatalf("leads.ndjson: got %d lines, want %d as in expected.json", len(lines), len(expected))
	}
	j := judge{t: t, lane: example(t).Accounts[0].Lanes[0], catalog: schema.NewCatalog(), seen: map[string]string{}}
	counts := map[string]int{}
	for i, want := range expected {
		got := j.line(lines[i])
		got.Line = i + 1
		if got != want {
			t.Errorf("line %d: got %+v, want %+v\n%.200s", i+1, got, want, lines[i])
		}
		counts[want.Want]++
	}
	if counts["created"] < 25 || counts["duplicate"] < 3 || counts["dead"] < 20 {
		t.Errorf("kinds: got %v, want at least 25 created, 3 duplicate, 20 dead", counts)
	}
}

func readExamples(t *testing.T) (lines []string, expected []expectation) {
	t.Helper()
	leads, err := os.ReadFile("../../examples/leads.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	answers, err := os.ReadFile("../../examples/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answers, &expected); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(leads), "\n"), "\n"), expected
}

// judge tells what becomes of lines, one after the other.
type judge struct {
	t       *testing.T
	lane    config.Lane
	catalog *schema.Catalog
	seen    map[string]string // source and id: digest
}

func (j *judge) line(line string) expectation {
	header, body := j.message(line)
	e, err := schema.Decode(header, body, int(j.lane.MaxEvent))
	if err != nil {
		return j.dead(err)
	}
	key, digest := e.Source()+"\n"+e.ID(), schema.Digest(e)
	switch first, again := j.seen[key]; {
	case again && first == digest:
		return expectation{Want: "duplicate"}
	case again:
		return j.dead(&schema.Refusal{Class: schema.ClassConflict})
	}
	j.seen[key] = digest
	if err := j.request(e); err != nil {
		return j.dead(err)
	}
	return expectation{Want: "created"}
}

func (j *judge) message(line string) (header map[string][]string, body []byte) {
	j.t.Helper()
	var m message
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		j.t.Fatalf("a line that is not JSON: %v\n%.200s", err, line)
	}
	if m.Headers == nil {
		return nil, []byte(line)
	}
	header = map[string][]string{}
	for name, value := range m.Headers {
		header[name] = []string{value}
	}
	if m.Body != nil {
		return header, []byte(*m.Body)
	}
	return header, m.Data
}

var international = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// request makes the event's request, and looks at the number as a provider's
// client does.
func (j *judge) request(e event.Event) error {
	if err := j.catalog.Check(e); err != nil {
		return err
	}
	request, err := j.lane.Routes.Request(e)
	if err != nil {
		return err
	}
	if number, ok := request["toPhoneNumber"].(string); !ok || !international.MatchString(number) {
		return &schema.Refusal{Class: schema.ClassRequest}
	}
	return nil
}

func (j *judge) dead(err error) expectation {
	j.t.Helper()
	refusal, ok := errors.AsType[*schema.Refusal](err)
	if !ok {
		j.t.Fatalf("got %v, want a *schema.Refusal", err)
	}
	return expectation{Want: "dead", Class: string(refusal.Class)}
}
