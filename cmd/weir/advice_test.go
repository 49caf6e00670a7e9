package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
)

// Each error says what to do next, and the exit code says whose fault it is.
func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	lead := p.file(t, "lead.json", lead("1", "+14155550101", ""))
	dir := filepath.Dir(p.yaml)
	for _, tt := range []struct {
		code int
		want string // the end of what is printed
		args []string
	}{
		{2, "unknown flag --lame; weir lanes --help says what it takes", []string{"lanes", "--lame"}},
		{2, "unexpected argument frobnicate; weir --help says what it takes", []string{"frobnicate"}},
		{2, `expected one of "list", "show", "replay", "drop"; weir dead --help says what it takes`, []string{"dead"}},
		{2, `but got "yaml"; weir lanes --help says what it takes`, []string{"lanes", "--output", "yaml"}},
		{2, `but got "x"; weir simulate --help says what it takes`, []string{"simulate", "--limit", "x"}},
		{2, "missing flags: --created=CONVERSATION or --retry or --drop; weir doubt resolve --help says what it takes", []string{"doubt", "resolve", "x"}},
		{1, "no such file or directory; name the file with -c, or start from examples/weir.yaml", []string{"lanes", "-c", dir + "/nowhere.yaml"}},
		{1, "is a directory; give a file, not a folder", []string{"lanes", "-c", dir}},
		{1, "is not running; start weir serve and try again", []string{"lanes"}},
		{1, "no such file or directory; give the path of one that is there", []string{"publish", dir + "/nosuch.json"}},
		{1, "no such file or directory; give the path of one that is there", []string{"explain", dir + "/nosuch.json"}},
		{1, "set admin.listen in the configuration, such as 127.0.0.1:8092", []string{"health"}},
		{2, "is not a loopback address; use 127.0.0.1:99", []string{"simulate", "--listen", "192.0.2.1:99"}},
		{2, "why? give --reason TEXT", []string{"lane", "pause", "sales", "--reason", " "}},
	} {
		errorIs(t, p, tt.code, tt.want, tt.args...)
	}
	s := p.broker(t)
	if _, err := s.broker.Lane(t.Context(), "sales"); err != nil {
		t.Fatal(err)
	}
	lanes := `no lane is called "nosuch"; the lanes are: sales`
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{1, "end that one first, or give this one an embedded.dir of its own", []string{"serve"}},
		{2, lanes, []string{"lane", "pause", "nosuch", "--reason", "x"}},
		{2, lanes, []string{"lane", "resume", "nosuch"}},
		{2, lanes, []string{"release", "--lane", "nosuch", "--reason", "x", "--yes"}},
		{2, lanes, []string{"dead", "list", "--lane", "nosuch"}},
		{2, lanes, []string{"doubt", "list", "--lane", "nosuch"}},
		{2, lanes, []string{"undelivered", "list", "--lane", "nosuch"}},
		{2, lanes, []string{"event", "show", "x", "--lane", "nosuch"}},
		{2, lanes, []string{"publish", "--lane", "nosuch", lead}},
		{1, "look with weir dead list", []string{"dead", "show", "nosuch"}},
		{1, "look with weir dead list", []string{"dead", "replay", "nosuch", "--reason", "x"}},
		{1, "look with weir dead list", []string{"dead", "drop", "nosuch", "--reason", "x"}},
		{1, "look with weir doubt list", []string{"doubt", "show", "nosuch"}},
		{1, "look with weir doubt list", []string{"doubt", "resolve", "nosuch", "--drop", "--reason", "x"}},
		{1, "or by --source and --id", []string{"event", "show", "nosuch"}},
		{1, "see weir undelivered list", []string{"undelivered", "show", "nosuch"}},
		{2, "a time such as", []string{"dead", "list", "--since", "yesterday"}},
		{2, "such as +14155550123 nor an e-mail address", []string{"contact", "block", "x", "--reason", "y"}},
	} {
		errorIs(t, p, tt.code, tt.want, tt.args...)
	}
}

// errorIs runs a command line that must fail.
func errorIs(t *testing.T, p *plant, code int, want string, args ...string) {
	t.Helper()
	if !slices.Contains(args, "-c") {
		args = append(args, "-c", p.yaml)
	}
	stdout, _, err := weir(t.Context(), p.env, args...)
	var said syncBuffer
	if got := exitCode(err, &said); got != code || !strings.Contains(said.String(), want) || strings.Count(said.String(), "; ") > 3 {
		t.Errorf("weir %s: got exit code %d and %q; want %d and %q", strings.Join(args, " "), got, said.String(), code, want)
	}
	if stdout != "" && code == 2 && args[0] != "publish" && args[1] != "list" {
		t.Errorf("weir %s: got %q on standard output, want nothing", strings.Join(args, " "), stdout)
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("connect: %w", nats.ErrNoServers), "connect: nats: no servers available for connection; see that the broker runs, and that the broker block of the configuration names it; weir check looks at it"},
		{nats.ErrAuthorization, "nats: authorization violation; give credentials in the broker block that may do this"},
		{&fs.PathError{Op: "open", Path: "key", Err: fs.ErrPermission}, "open key: permission denied; give this user the right to it"},
		{syscall.EADDRINUSE, "address already in use; end the other program that listens there, or give another address"},
		{syscall.ENOSPC, "no space left on device; make room on the disk"},
		{errors.New("it says it itself; do this"), "it says it itself; do this"},
		{advised{fs.ErrNotExist, "look"}, "file does not exist; look"},
	} {
		if got := advise(tt.err); got.Error() != tt.want || !errors.Is(got, errors.Unwrap(tt.err)) && errors.Unwrap(tt.err) != nil {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if advise(nil) != nil {
		t.Error("advice without an error")
	}
	var said syncBuffer
	if got := exitCode(advise(fmt.Errorf("stopped: %w", context.Canceled)), &said); got != 130 || said.String() != "weir: interrupted\n" {
		t.Errorf("interrupted: got %d, %q", got, said.String())
	}
}

// leaves are all commands, by their words.
func leaves(t *testing.T) (all []string) {
	t.Helper()
	var flags cli
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(n *kong.Node, words string)
	walk = func(n *kong.Node, words string) {
		if len(n.Children) == 0 && !n.Hidden {
			all = append(all, words)
		}
		for _, child := range n.Children {
			walk(child, strings.TrimSpace(words+" "+child.Name))
		}
	}
	walk(parser.Model.Node, "")
	return all
}

// Every command prints JSON and nothing else when it is asked to, whether it
// succeeds or not.
func TestEveryCommandPrintsJSON(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	defer p.serve(t, "sales")()
	good := p.file(t, "good.ndjson", lead("1", "+14155550101", ""))
	p.weir(t, "publish", "--lane", "sales", p.file(t, "bad.ndjson", lead("bad", "", ""), lead("bad2", "", "")))
	await(t, patience, "dead letters", func() bool {
		return len(decoded[[]letterRow](t, p.weir(t, "dead", "list", "--output", "json"))) == 2
	})
	import1 := p.file(t, "people.csv", "+14155550155")
	elsewhere := map[string]string{ // whose commands run until they are ended, and print nothing on standard output before
		"serve": "TestServe and others", "simulate": "TestSimulate", "demo": "TestDemo",
		"bench": "TestBenchDocument", // takes a while
	}
	copied := filepath.Join(t.TempDir(), "copy")
	ran := make(map[string]bool)
	for _, line := range [][]string{
		{"check"}, {"health"}, {"publish", "--lane", "sales", good}, {"explain", "--lane", "sales", good},
		{"lanes"}, {"lane pause", "sales", "--reason", "x"}, {"lane resume", "sales"}, {"release", "--all", "--dry-run"},
		{"event show", "--lane", "sales", "--source", "/crm", "--id", "1"}, {"event cancel", "--lane", "sales", "--source", "/crm", "--id", "new", "--ahead", "--reason", "x"},
		{"dead list"}, {"dead show", "bad"}, {"dead replay", "bad", "--reason", "x"}, {"dead drop", "bad2", "--reason", "x"},
		{"doubt list"}, {"doubt show", "nosuch"}, {"doubt resolve", "nosuch", "--drop", "--reason", "x"},
		{"undelivered list"}, {"undelivered show", "nosuch"}, {"undelivered send", "nosuch"}, {"undelivered drop", "nosuch"},
		{"contact block", "+14155550133", "--reason", "x"}, {"contact list"}, {"contact show", "+14155550133"},
		{"contact allow", "+14155550133", "--reason", "x"}, {"contact import", import1, "--reason", "x"},
		{"forget", "--person", "+14155550101", "--dry-run"}, {"completion", "bash"}, {"version"},
		{"backup", copied}, {"restore", copied, "--dry-run"},
	} {
		ran[line[0]] = true
		args := append(strings.Fields(line[0]), line[1:]...)
		stdout, stderr, err := weir(t.Context(), p.env, append(args, "-c", p.yaml, "--output", "json")...)
		if err == nil && stdout == "" {
			t.Errorf("weir %v: it succeeds and prints nothing; it said %s", args, stderr)
		}
		dec := json.NewDecoder(strings.NewReader(stdout))
		for {
			var v any
			if err := dec.Decode(&v); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("weir %v: got %q, want JSON alone: %v", args, stdout, err)
				break
			}
		}
		if err != nil && !strings.Contains(err.Error(), "nosuch") && line[0] != "health" {
			t.Errorf("weir %v: got error %v, want none", args, err)
		}
	}
	for _, command := range leaves(t) {
		if !ran[command] && elsewhere[command] == "" {
			t.Errorf("weir %s: nobody looks at its JSON", command)
		}
	}
}
