package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// root is the top of the tree.
const root = "../.."

// readme is the README with its commands, in order, as words.
type readme struct {
	text     string
	commands [][]string
}

// readReadme returns the README's shell blocks, a command a line.
func readReadme(t *testing.T) readme {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := readme{text: string(b)}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(r.text, -1) {
		for line := range strings.Lines(block[1]) {
			r.commands = append(r.commands, strings.Fields(line))
		}
	}
	return r
}

// find returns the one command of the README that begins so.
func (r readme) find(t *testing.T, prefix ...string) []string {
	t.Helper()
	var found [][]string
	for _, c := range r.commands {
		if len(c) >= len(prefix) && slices.Equal(c[:len(prefix)], prefix) {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("README has %d commands that begin with %v, want 1", len(found), prefix)
	}
	return found[0]
}

// TestReadmeCommandsAreAllRun holds the list of what the other tests run
// against what the README says.
func TestReadmeCommandsAreAllRun(t *testing.T) {
	t.Parallel()
	ran := []string{
		"go run ./cmd/weir demo",       // TestDemo
		"sh deploy/compose/secrets.sh", // these four: make compose-test, which needs a Docker engine
		"docker compose up --build --detach",
		"docker compose exec -T weir /weir publish --lane acme-sales - < examples/leads.ndjson",
		"docker compose exec weir /weir lanes",
		"make check", // runs this test
		"go build -o bin/weir ./cmd/weir",
		"export ORATION_API_KEY=any-key ORATION_WORKSPACE_ID=any-workspace WEIR_GATEWAY_TOKEN=any-token-of-yours",
		"bin/weir simulate --scale 20 --log calls.ndjson",
		"bin/weir serve -c examples/weir.yaml",
		"bin/weir publish -c examples/weir.yaml examples/leads.ndjson",
		"bin/weir lanes -c examples/weir.yaml",
		"bin/weir dead list -c examples/weir.yaml",
		"bin/weir doubt list -c examples/weir.yaml",
		"export ANYREACH_TOKEN=ak_any.token",
		"bin/weir serve -c examples/both.yaml",
		"bin/weir publish -c examples/both.yaml examples/both.ndjson",
		"bin/weir lanes -c examples/both.yaml",
		"bin/weir check -c examples/weir.yaml",
		`curl -i http://127.0.0.1:8090/events/acme-sales -H "Authorization: Bearer $WEIR_GATEWAY_TOKEN" -H "Content-Type: application/cloudevents+json" -d @examples/lead.json`, // TestReadmeCurl
		"export ACME_CRM_ADDRESS=any-secret-of-16-letters HUBSPOT_APP_SECRET=another-secret-of-yours",
		"bin/weir serve -c examples/hubspot.yaml",
		"python3 examples/hubspot.py examples/hubspot.json http://127.0.0.1:8090/hooks/crm/acme-sales/$ACME_CRM_ADDRESS", // TestReadmeHubSpot
		"bin/weir lanes -c examples/hubspot.yaml",
		"tail -n 2 calls.ndjson",
	}
	var said []string
	for _, c := range readReadme(t).commands {
		said = append(said, strings.Join(c, " "))
	}
	if diff := cmp.Diff(ran, said); diff != "" {
		t.Errorf("commands of the README (-run by tests +said):\n%s", diff)
	}
}

// TestReadmeEventIsTaken publishes nothing: the example must be an event that a
// lane takes.
func TestReadmeEventIsTaken(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(readReadme(t).text, -1)
	if len(blocks) != 1 {
		t.Fatalf("README has %d JSON examples, want 1", len(blocks))
	}
	ev, err := schema.Decode(map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(blocks[0][1]), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.NewCatalog().Check(ev); err != nil {
		t.Error(err)
	}
}

// TestDemo runs the README's first command, and gives a slow machine its time.
func TestDemo(t *testing.T) {
	t.Parallel()
	out, story, err := weir(t.Context(), nil, append(readReadme(t).find(t, "go", "run", "./cmd/weir", "demo")[3:], "--output", "json", "--duration", "10m")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, story)
	}
	var lanes []map[string]any
	if err := json.Unmarshal([]byte(out), &lanes); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, ln := range lanes {
		sum := ln["created"].(float64) + ln["dead"].(float64) + ln["in_doubt"].(float64)
		if ln["waiting"] != 0.0 || sum != ln["published"] || ln["dead"] != 3.0 {
			t.Errorf("balance: got %v, want everything settled and 3 dead", ln)
		}
		if ln["doubled"] != 0.0 || ln["lost"] != 0.0 || ln["highest_slots"].(float64) > ln["limit"].(float64) {
			t.Errorf("a promise is broken: %v", ln)
		}
	}
	for _, want := range []string{"dead letter:", "in doubt (", "The provider goes down", "answers 429"} {
		if !strings.Contains(story, want) {
			t.Errorf("the story does not show %q", want)
		}
	}
}

// outcomeOf is one line of examples/expected.json.
type outcomeOf struct {
	Line  int    `json:"line"`
	Want  string `json:"want"`
	Class string `json:"class"`
}

// stranger is somebody in a folder with nothing but the examples, who types
// what the README says.
type stranger struct {
	readme
	dir     string
	env     map[string]string
	gateway string // the address of weir.yaml's
}

// newStranger copies the examples, sets the variables and starts the simulator
// on an address that is free here.
func newStranger(t *testing.T) *stranger {
	t.Helper()
	s := &stranger{readme: readReadme(t), dir: t.TempDir(), env: map[string]string{}}
	for _, c := range s.commands {
		if c[0] != "export" {
			continue
		}
		for _, assignment := range c[1:] {
			name, value, _ := strings.Cut(assignment, "=")
			s.env[name] = value
		}
	}
	var provider string
	provider, s.gateway = copyExamples(t, s.dir)
	s.start(t, s.find(t, "bin/weir", "simulate"), "--listen", provider)
	await(t, patience, "weir simulate to listen", func() bool { // who types has seen it
		return s.command(t, "simulate", "--alive", "--listen", provider).Run() == nil
	})
	return s
}

// start runs a command until the test ends.
func (s *stranger) start(t *testing.T, command []string, more ...string) {
	t.Helper()
	childIn(t, s.dir, s.env, append(slices.Clone(command[1:]), more...)...)
}

// serve runs the README's weir serve on this configuration.
func (s *stranger) serve(t *testing.T, yaml, store string) {
	t.Helper()
	s.start(t, s.find(t, "bin/weir", "serve", "-c", yaml))
	await(t, patience, "weir serve", func() bool {
		if _, err := os.Stat(filepath.Join(s.dir, "examples", store, "endpoint.json")); err != nil {
			return false
		}
		out, err := s.command(t, "lanes", "-c", yaml, "--output", "json").Output()
		return err == nil && !strings.Contains(string(out), notRunning)
	})
}

// command is this program, run as weir where the stranger stands.
func (s *stranger) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), asWeir+"=1")
	for k, v := range s.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// ask runs the README's command that begins so, and returns what it prints.
func (s *stranger) ask(t *testing.T, prefix ...string) string {
	t.Helper()
	args := append(slices.Clone(s.find(t, append([]string{"bin/weir"}, prefix...)...)[1:]), "--output", "json")
	cmd := s.command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("weir %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// TestReadmeThreeProcesses does what the README says, as processes, and proves
// the result from the simulator's log.
func TestReadmeThreeProcesses(t *testing.T) {
	t.Parallel()
	s := newStranger(t)
	s.serve(t, "examples/weir.yaml", "weir-data")
	s.ask(t, "check")
	s.ask(t, "publish", "-c", "examples/weir.yaml")
	wanted, created, dead := expectations(t, s.dir)
	if len(wanted) < 40 {
		t.Errorf("examples: got %d, want at least 40", len(wanted))
	}
	var letters []letterRow
	await(t, patience, "every lead to come to its end", func() bool {
		letters = nil
		if err := json.Unmarshal([]byte(s.ask(t, "dead")), &letters); err != nil {
			t.Fatal(err)
		}
		return len(letters) >= total(dead) && len(made(t, s.dir)) >= len(created)
	})
	if diff := cmp.Diff(created, made(t, s.dir)); diff != "" {
		t.Errorf("conversations in the simulator's log, by intent (-want +got):\n%s", diff)
	}
	classes := make(map[string]int)
	for _, l := range letters {
		classes[l.Class]++
		if len(strings.Fields(l.Reason)) < 4 {
			t.Errorf("the reason of %s says little: %q", l.ID, l.Reason)
		}
	}
	if diff := cmp.Diff(dead, classes); diff != "" {
		t.Errorf("dead letters by class (-want +got):\n%s", diff)
	}
	if got := s.ask(t, "doubt"); strings.TrimSpace(got) != "[]" {
		t.Errorf("doubts: got %s, want none", got)
	}
	if got := s.ask(t, "lanes", "-c", "examples/weir.yaml"); !strings.Contains(got, `"acme-sales"`) {
		t.Errorf("lanes: got %s", got)
	}
}

// TestReadmeBothProviders does what the README says of the second provider.
func TestReadmeBothProviders(t *testing.T) {
	t.Parallel()
	s := newStranger(t)
	s.serve(t, "examples/both.yaml", "weir-data")
	s.ask(t, "publish", "-c", "examples/both.yaml")
	want := make(map[string]int)
	for lane, n := range map[string]int{"acme-sales": 1, "globex-calls": 2, "globex-care": 4} {
		for i := range n {
			want[consumer.Key(lane, "/crm/globex", fmt.Sprintf("%s-%d", lane, i+1))] = 1
		}
	}
	var rows []laneRow
	await(t, patience, "every lead to come to its end", func() bool {
		rows = nil
		if err := json.Unmarshal([]byte(s.ask(t, "lanes", "-c", "examples/both.yaml")), &rows); err != nil {
			t.Fatal(err)
		}
		dead := 0
		for _, r := range rows {
			dead += r.Dead
		}
		return dead >= 1 && len(made(t, s.dir)) >= len(want)
	})
	if diff := cmp.Diff(want, made(t, s.dir)); diff != "" {
		t.Errorf("conversations in the simulator's log, by intent (-want +got):\n%s", diff)
	}
	i := slices.IndexFunc(rows, func(r laneRow) bool { return r.Lane == "globex-care" })
	if i < 0 || rows[i].Provider != "anyreach" || rows[i].Limit != 10 || rows[i].Dead != 1 {
		t.Errorf("lanes: got %+v, want globex-care with the lead that has no channel", rows)
	}
}

// copyExamples puts the examples into dir and sends their lane, and those who
// publish, to addresses that are free here.
func copyExamples(t *testing.T, dir string) (provider, gateway string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS(filepath.Join(root, "examples"))); err != nil {
		t.Fatal(err)
	}
	provider, gateway = gatewayPort(t), gatewayPort(t)
	for name, named := range map[string]map[string]string{
		"weir.yaml":    {readmeProvider: provider, readmeGateway: gateway},
		"both.yaml":    {readmeProvider: provider},
		"hubspot.yaml": {readmeProvider: provider, readmeGateway: gateway},
	} {
		path := filepath.Join(dir, "examples", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for address, here := range named {
			moved := bytes.ReplaceAll(b, []byte(address), []byte(here))
			if bytes.Equal(moved, b) {
				t.Fatalf("%s does not name %s", name, address)
			}
			b = moved
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return provider, gateway
}

// The addresses of the examples.
const (
	readmeProvider = "127.0.0.1:8077"
	readmeGateway  = "127.0.0.1:8090"
)

// expectations reads what becomes of each line: the intents that get one
// conversation, and the dead letters by class.
func expectations(t *testing.T, dir string) (wanted []outcomeOf, created, dead map[string]int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "examples", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &wanted); err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(filepath.Join(dir, "examples", "leads.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	all := bytes.Split(bytes.TrimRight(lines, "\n"), []byte("\n"))
	created, dead = make(map[string]int), make(map[string]int)
	for _, w := range wanted {
		switch w.Want {
		case "created":
			header, body := recorded(t, all[w.Line-1])
			ev, err := schema.Decode(header, body, 0)
			if err != nil {
				t.Fatalf("line %d: %v", w.Line, err)
			}
			created[consumer.Key("acme-sales", ev.Source(), ev.ID())] = 1
		case "dead":
			dead[w.Class]++
		}
	}
	return wanted, created, dead
}

// recorded reads a line of leads.ndjson as examples/README.md says, apart from
// the code that publishes it.
func recorded(t *testing.T, line []byte) (map[string][]string, []byte) {
	t.Helper()
	var m struct {
		Headers map[string]string `json:"headers"`
		Data    json.RawMessage   `json:"data"`
		Body    *string           `json:"body"`
	}
	if err := json.Unmarshal(line, &m); err != nil || m.Headers == nil {
		return nil, line
	}
	header := make(map[string][]string)
	for k, v := range m.Headers {
		header[k] = []string{v}
	}
	if m.Body != nil {
		return header, []byte(*m.Body)
	}
	return header, m.Data
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// made counts the conversations of each intent in the simulator's log.
func made(t *testing.T, dir string) map[string]int {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(dir, "calls.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for text := range bytes.Lines(log[:bytes.LastIndexByte(log, '\n')+1]) { // the last one may not be whole yet
		var line struct{ Event, Intent string }
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("the simulator's log: %v", err)
		}
		if line.Event == "made" {
			counts[line.Intent]++
		}
	}
	return counts
}

// TestBuild builds the binary as the README says.
func TestBuild(t *testing.T) {
	t.Parallel()
	command := readReadme(t).find(t, "go", "build")
	out := filepath.Join(t.TempDir(), "weir")
	command[3] = out
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	b, err := exec.CommandContext(t.Context(), out, "version").Output()
	if err != nil || !strings.Contains(string(b), "weir") {
		t.Errorf("weir version: %v, %q", err, b)
	}
}
