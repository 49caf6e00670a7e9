package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/broker"
)

// leads are n lines of leads, from the first on.
func leads(first, n int) (all []string) {
	for i := first; i < first+n; i++ {
		all = append(all, lead(fmt.Sprintf("p%04d", i), "+14155550100", ""))
	}
	return all
}

// ids are those of the events in the stream, in its order.
func ids(t *testing.T, s *service) (all []string) {
	t.Helper()
	for _, m := range contents(t, s, broker.StreamEvents) {
		var ev struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(m.Body), &ev); err != nil {
			t.Fatal(err)
		}
		all = append(all, ev.ID)
	}
	return all
}

// TestPublishGoesOn publishes a file that grows, in each format, and one that
// changes.
func TestPublishGoesOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, first, more, changed string }{
		{"a.ndjson", "\ufeff" + lead("1", "1", "") + "\n\n{cut\n" + lead("2", "2", ""), "\n" + lead("3", "3", "") + "\n", lead("9", "1", "")},
		{"a.csv", "ID,Note\r\n1,\"x\ny\"\r\n1,2,3\r\n2,z", "\r\n3,z\r\n", "ID,Note\r\n9"},
		{"a.json", " [" + lead("1", "1", "") + ",\n{}," + lead("2", "2", ""), "," + lead("3", "3", "") + "]", " [" + lead("9", "1", "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlant(t, "sales")
			p.broker(t)
			path := filepath.Join(filepath.Dir(p.yaml), tt.name)
			position := filepath.Join(filepath.Dir(p.yaml), "position.json")
			write := func(text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			publish := func() published {
				t.Helper()
				args := []string{"publish", "--output", "json", "--source", "/list", "--position", position, path, "-c", p.yaml}
				stdout, _, _ := weir(t.Context(), p.env, args...)
				return decoded[[]published](t, stdout)[0]
			}
			defer func() { // what the position passed over is kept
				if text, err := os.ReadFile(position + ".refused"); tt.name == "a.csv" && (err != nil || strings.Count(string(text), "\n") != 1) {
					t.Errorf("refused: got %q (%v), want the one bad row", text, err)
				}
			}()
			whole := tt.first
			if tt.name == "a.json" {
				whole += "]"
			}
			write(whole)
			first := publish()
			if first.Published+first.Failed != 3 || first.Skipped != 0 {
				t.Fatalf("at first: got %+v, want 3 events", first)
			}
			if again := publish(); again.Events != 0 || again.Skipped != 3 {
				t.Errorf("again: got %+v, want nothing new", again)
			}
			write(tt.first + tt.more)
			if more := publish(); more.Events != 1 || more.Published != 1 || more.Skipped != 3 {
				t.Errorf("longer: got %+v, want one new event", more)
			}
			write(tt.changed + (tt.first + tt.more)[len(tt.changed):])
			p.refused(t, "it is not the file that was published up to", "publish", "--source", "/list", "--position", position, path)
			write(tt.changed + whole[len(tt.first):])
			p.refused(t, "it is not the file that was published up to", "publish", "--source", "/list", "--position", position, path)
			write(tt.first + tt.more)
			p.refused(t, "was written by a command with another lane, source, type or mapping", "publish", "--source", "/other", "--position", position, path)
		})
	}
}

func TestPositionFilesAreChecked(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	file := p.file(t, "a.ndjson", leads(0, 1)...)
	p.refused(t, "is no position file", "publish", "--position", p.file(t, "b", "hello"), file)
	p.refused(t, "has format 2, this weir reads 1", "publish", "--position", p.file(t, "c", `{"v":2}`), file)
	p.refused(t, "no such file", "publish", "--position", filepath.Join(filepath.Dir(p.yaml), "nosuch", "x"), file)
}

// TestKilledPublish kills weir publish again and again. Each time the next one goes
// on behind the position: none is skipped, and few are published again.
func TestKilledPublish(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	const n = 400
	file, position := p.file(t, "a.ndjson", leads(0, n)...), filepath.Join(filepath.Dir(p.yaml), "position.json")
	args := []string{"publish", "-c", p.yaml, "--position", position, "--rate", "100", file}
	count := func() uint64 { return streams(t, s)[broker.StreamEvents].Msgs }
	for range 4 {
		before := count()
		cmd := child(t, p.env, args...)
		await(t, patience, "some events", func() bool { return count() > before || count() == n })
		elapse(t, 1500*time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	// A last one, which is interrupted: it leaves its position where it was.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { _, _, err := weir(ctx, p.env, args...); done <- err }()
	before := count()
	await(t, patience, "some more", func() bool { return count() > before || count() == n })
	cancel()
	<-done
	was := count()
	got := decoded[[]published](t, p.weir(t, "publish", "--position", position, "--output", "json", file))[0]
	if got.Skipped+got.Events != n || got.Skipped == 0 || uint64(got.Skipped) > was {
		t.Errorf("got %+v after %d were in the stream, want it to go on behind what was confirmed", got, was)
	}
	want := make([]string, 0, n)
	for i := range n {
		want = append(want, fmt.Sprintf("p%04d", i))
	}
	seen := make(map[string]bool)
	all := slices.DeleteFunc(ids(t, s), func(id string) bool { // the broker's window may have ended
		again := seen[id]
		seen[id] = true
		return again
	})
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("events in their order (-want +got):\n%s", diff)
	}
}

// TestThePositionIsNeverAhead looks at the position after each confirmed event.
func TestThePositionIsNeverAhead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "position.json")
	p, err := readPositions(path, "s")
	if err != nil {
		t.Fatal(err)
	}
	synced := 0
	sync := func() error { synced++; return nil }
	for i := range 100 {
		p.saved = time.Now().Add(time.Hour) // not due, however long this takes
		if err := p.move("-", position{Offset: int64(i + 1)}, sync); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := readPositions(path, "s"); err != nil || old.Files["-"].Offset != 0 || synced != 0 {
		t.Errorf("before it is due: got %+v (%v), %d syncs; want nothing written", old, err, synced)
	}
	p.saved = time.Now().Add(-time.Hour)
	if err := p.move("-", position{Offset: 101}, sync); err != nil {
		t.Fatal(err)
	}
	if old, err := readPositions(path, "s"); err != nil || old.Files["-"].Offset != 101 || synced != 1 {
		t.Errorf("when it is due: got %+v (%v), %d syncs; want 101 and one", old, err, synced)
	}
	p.saved = time.Now().Add(-time.Hour)
	fails := func() error { return os.ErrClosed }
	if err := p.move("-", position{Offset: 102}, fails); err == nil {
		t.Error("what was refused is not durable: want an error")
	}
	if old, _ := readPositions(path, "s"); old.Files["-"].Offset != 101 {
		t.Errorf("what was refused is not durable: got %+v, want the position before it", old)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".weir-position-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPublishTables publishes a folder of tables and lines, with what was refused in
// a file.
func TestPublishTables(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	dir := filepath.Join(filepath.Dir(p.yaml), "leads", "more")
	if err := os.MkdirAll(filepath.Join(filepath.Dir(dir), ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.file(t, "leads/b.csv", "ID;Vorname;Telefon", "1;Ana;+49 171 1", "2;Ben;0171 2;x", "1;Ana;+49 171 1")
	p.file(t, "leads/a.ndjson", leads(0, 1)...)
	p.file(t, "leads/more/c.jsonl", leads(1, 1)...)
	p.file(t, "leads/readme.txt", "hello")
	p.file(t, "leads/.git/x.json", lead("hidden", "", ""))
	refused := filepath.Join(filepath.Dir(p.yaml), "refused.ndjson")
	args := []string{"publish", "-c", p.yaml, "--source", "/list", "--refused", refused, "--output", "json", filepath.Dir(dir)}
	stdout, stderr, err := weir(t.Context(), p.env, args...)
	if err == nil || exitCode(err, &syncBuffer{}) != 1 {
		t.Errorf("got error %v, want exit code 1", err)
	}
	got := decoded[[]published](t, stdout)
	table := filepath.Join(filepath.Dir(dir), "b.csv")
	const reason = "the row has 4 cells, and the header 3: is a cell with the delimiter in it not in quotes?"
	want := []published{
		{File: filepath.Join(filepath.Dir(dir), "a.ndjson"), Events: 1, Published: 1},
		{File: table, Events: 3, Published: 1, Duplicates: 1, Failed: 1, Refused: []refusal{{Place: table + ":3", Reason: reason}}},
		{File: filepath.Join(dir, "c.jsonl"), Events: 1, Published: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	contains(t, stderr, "readme.txt: passed over", "b.csv: 3 columns, separated by semicolon", "  Telefon -> data.phone\n", "refused.ndjson has all 1 that were not published")
	text, err := os.ReadFile(refused)
	if err != nil {
		t.Fatal(err)
	}
	line := decoded[refusal](t, string(text))
	if line.Place != table+":3" || line.Reason != reason || string(line.Original) != `{"ID":"2","Telefon":"0171 2","Vorname":"Ben","column 4":"x"}` {
		t.Errorf("refused: got %s", text)
	}
	if diff := cmp.Diff([]string{"p0000", "1", "p0001"}, ids(t, s)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}

	// In Latin-1 nothing is published, not even the file before it.
	p.file(t, "leads/z.csv", "ID,Name", "8,J\xfcrgen")
	p.file(t, "leads/a.ndjson", leads(5, 1)...)
	p.refused(t, "z.csv: line 2 is not UTF-8", "publish", "--source", "/list", filepath.Dir(dir))
	if n := len(ids(t, s)); n != 3 {
		t.Errorf("got %d events, want none more", n)
	}
}

func TestPublishChecksFirst(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	bad := p.file(t, "a.ndjson", lead("1", "+14155550101", ""), "{cut", strings.Replace(lead("2", "", ""), "lead.created", "lead.lost", 1), strings.Replace(lead("3", "", ""), `{"id":"3"}`, "{}", 1))
	printed, code := p.refused(t, "3 of 4 events do not fit; nothing was published", "publish", "--check", bad)
	contains(t, printed, "a.ndjson:2: ", `a.ndjson:3: lane sales has no route for events of type "lead.lost"`, "a.ndjson:4: ")
	if n := len(ids(t, s)); n != 0 || code != 1 {
		t.Errorf("got %d events, exit code %d; want none, 1", n, code)
	}
	contains(t, p.weir(t, "publish", "--check", p.file(t, "b.ndjson", leads(0, 2)...)), "2       2          0           0")
	for want, args := range map[string][]string{
		"--check reads everything twice": {"--check", "-"},
		"--rate is a number":             {"--rate=-1", bad},
		"is no member":                   {"--map", "Phone=x", bad},
	} {
		if _, code := p.refused(t, want, append([]string{"publish"}, args...)...); code != 2 {
			t.Errorf("weir publish %v: got exit code %d, want 2", args, code)
		}
	}
	p.refused(t, "no such file", "publish", "nosuch.csv")
	p.refused(t, "holds no file of events", "publish", t.TempDir())
}
