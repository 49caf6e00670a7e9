package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPublishDoesNotReadWhatItWrites names the same file, or a link to it, as one of
// events and as one that is written: it would be emptied.
func TestPublishDoesNotReadWhatItWrites(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	file := p.file(t, "a.ndjson", leads(0, 3)...)
	link, position := filepath.Join(filepath.Dir(p.yaml), "b.ndjson"), filepath.Join(filepath.Dir(p.yaml), "position.json")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	const says = "a file that this command writes"
	for _, args := range [][]string{{file, "--refused", file}, {file, "--refused", link}, {link, "--refused", file}, {file, "--position", file}} {
		if _, code := p.refused(t, says, append([]string{"publish"}, args...)...); code != 2 {
			t.Errorf("%v: got exit code %d, want 2", args, code)
		}
	}
	late := p.file(t, "position.json.refused", leads(0, 3)...)
	p.refused(t, says, "publish", late, "--position", position)
	p.refused(t, "are two files", "publish", file, "--position", position, "--refused", position)
	for _, name := range []string{file, late} {
		if text, err := os.ReadFile(name); err != nil || strings.Count(string(text), "\n") != 3 {
			t.Errorf("%s: got %q (%v), want what was there", name, text, err)
		}
	}
}

// TestPublishAFolderAgain publishes a folder, by a link to it, in which the command
// keeps its own files.
func TestPublishAFolderAgain(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	dir := filepath.Join(filepath.Dir(p.yaml), "exports")
	link := filepath.Join(filepath.Dir(p.yaml), "current")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	p.file(t, "exports/a.ndjson", leads(0, 3)...)
	p.file(t, "exports/b.csv", "ID,Note", "1,x,y")
	for _, before := range []int{0, 4} {
		stdout, stderr, err := weir(t.Context(), p.env, "publish", "--output", "json", "--source", "/list", link,
			"--position", filepath.Join(dir, "position.json"), "--refused", filepath.Join(dir, "refused.ndjson"), "-c", p.yaml)
		if before > 0 && err != nil {
			t.Fatalf("got %v\n%s", err, stderr)
		}
		events, skipped := 0, 0
		for _, f := range decoded[[]published](t, stdout) {
			events, skipped = events+f.Events, skipped+f.Skipped
		}
		if diff := cmp.Diff([]int{4 - before, before}, []int{events, skipped}); diff != "" {
			t.Errorf("events, and those before (-want +got):\n%s", diff)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "refused.ndjson"))
	if err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("got %q (%v), want the one bad row", text, err)
	}
}

// TestPublishReadsAPipeOnce publishes a table that cannot be read twice.
func TestPublishReadsAPipeOnce(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	pipe := filepath.Join(filepath.Dir(p.yaml), "pipe.csv")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	p.refused(t, "cannot be: put it into a file", "publish", "--check", "--source", "/list", pipe)
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, []byte("ID,Phone\n1,+14155550100\n2,+14155550101\n"), 0o600) }()
	p.weir(t, "publish", "--source", "/list", pipe)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1", "2"}, ids(t, s)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestPublishCommandsNoTerminal publishes a folder from elsewhere, whose names hold
// commands to a terminal.
func TestPublishCommandsNoTerminal(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	dir := filepath.Join(filepath.Dir(p.yaml), "exports")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const title = "\x1b]0;x\a"
	p.file(t, "exports/a"+title+".csv", "ID,No"+title+"te,b"+title, "1,\x1b[2J,2", "2,x", "3,\"x\"\x1b[2J,3")
	p.file(t, "exports/b"+title, "x")
	stdout, stderr, err := weir(t.Context(), p.env, "publish", "--source", "/list", "--map", "data.n:number=b"+title, dir, "-c", p.yaml)
	if err == nil || !strings.Contains(err.Error(), "2 of 3 events were not published") {
		t.Errorf("got %v, want that two of three were not published", err)
	}
	if strings.ContainsAny(stdout+stderr, "\x1b\a") {
		t.Errorf("got %q, want no commands to a terminal", stdout+stderr)
	}
}

func TestPublishFlags(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	for _, rate := range []string{"-1", "NaN"} {
		p.refused(t, "--rate is a number of events a second above 0", "publish", "--rate="+rate, p.file(t, "a.ndjson", leads(0, 1)...))
	}
}

// TestExplainTables explains the rows of a table in a folder, as weir publish would
// make events of them.
func TestExplainTables(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.file(t, "fair.csv", "ID;Mobile;Notes", "7;+14155550100;x", "8;;y", "9")
	stdout, stderr, err := weir(t.Context(), p.env, "explain", "--output", "json", "--source", "/list", "--map=-=Notes", filepath.Dir(p.yaml), "-c", p.yaml)
	if err == nil || !strings.Contains(err.Error(), "of 3 events would be refused") {
		t.Errorf("got error %v, want that some of three would be refused\n%s", err, stderr)
	}
	contains(t, stderr, "Notes -> dropped", "passed over")
	all := decoded[[]explained](t, stdout)
	if len(all) != 3 {
		t.Fatalf("got %d explanations, want three", len(all))
	}
	if e := all[0]; e.ID != "7" || e.Source != "/list" || e.Result != resultSent || !strings.HasSuffix(e.Place, "fair.csv:2") {
		t.Errorf("got %+v, want the event of the row", e)
	}
	if e := all[2]; e.Result != resultRefused || !strings.Contains(e.Reason, "the row has 1 cells") {
		t.Errorf("got %+v, want it refused", e)
	}
	printed, _ := p.refused(t, "1 of 1 events would be refused", "explain", p.file(t, "other.csv", "ID", "1"))
	contains(t, printed, "give --source")
}
