package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGolden goes through the life of a folder: written, right, changed, orphaned.
func TestGolden(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	dir := filepath.Join(filepath.Dir(p.yaml), "golden")
	put := func(name, text string) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.refused(t, "no such file", "explain", "--golden", dir)
	put("notes.txt", "no event")
	p.refused(t, "holds no event", "explain", "--golden", dir)
	old := `"time":"2020-01-31T09:30:00Z",` // its age is not judged
	put("good.json", lead("1", "+14155550101", old))
	put("bad.json", lead("2", "0101", ""))
	results := func(printed string) map[string]string {
		all := make(map[string]string)
		for _, row := range decoded[[]goldenRow](t, printed) {
			all[row.Event] = row.Result
			if row.Result != goldenOK && row.Result != goldenWritten && row.Next == "" && len(row.Diff) == 0 {
				t.Errorf("%s is %s, with neither a difference nor what to do", row.Event, row.Result)
			}
		}
		return all
	}
	same := func(what, want string, args ...string) {
		t.Helper()
		args = append([]string{"explain", "--golden", dir, "--output", "json", "-c", p.yaml}, args...)
		stdout, _, err := weir(t.Context(), p.env, args...)
		got := results(stdout)
		if diff := cmp.Diff(map[string]string{"good.json": want, "bad.json": want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if bad := want != goldenOK && want != goldenWritten; bad != (err != nil) {
			t.Errorf("%s: got error %v", what, err)
		}
	}
	same("without golden files", goldenMissing)
	same("written", goldenWritten, "--update")
	same("as expected", goldenOK)
	before, err := os.ReadFile(filepath.Join(dir, "bad.golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "lane": "sales",
  "route": 0,
  "result": "refused",
  "class": "request",
  "field": "toPhoneNumber",
  "reason": "The phone number … is not in international form; it must look like +14155550123."
}
`
	if diff := cmp.Diff(want, string(before)); diff != "" {
		t.Errorf("golden file (-want +got):\n%s", diff)
	}
	put("bad.golden.json", strings.Join(strings.Fields(string(before)), " ")) // laid out by hand
	same("laid out by hand", goldenOK)

	// A rehearsal changes nothing, another route does.
	p.edit(t, "  - name: sales\n", "  - name: sales\n    send: false\n")
	same("in a dry run", goldenOK)
	p.edit(t, "conversationType: telephony", "conversationType: web")
	printed, code := p.refused(t, "1 of 2 events are not as expected", "explain", "--golden", dir)
	if code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	contains(t, printed, "good.json  differs", `-         "conversationType": "telephony",`, `+         "conversationType": "web",`)

	put("good.golden.json", `{"lane":"sales","colour":"red"}`)
	printed, _ = p.refused(t, "not as expected", "explain", "--golden", dir)
	contains(t, printed, "good.golden.json cannot be read", "write it anew with --update")
	p.weir(t, "explain", "--golden", dir, "--update", "--lane", "sales")
	same("written again", goldenOK)
	if err := os.Remove(filepath.Join(dir, "good.json")); err != nil {
		t.Fatal(err)
	}
	printed, _ = p.refused(t, "1 of 2 events", "explain", "--golden", dir, "--update")
	contains(t, printed, "good.json  orphan  put back the event, or remove good.golden.json")
	put("two.json", "["+lead("1", "", "")+","+lead("2", "", "")+"]")
	p.refused(t, "holds more than one event: give each a file of its own", "explain", "--golden", dir)
}

func TestLineDiff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ a, b, want string }{
		{"a b c", "a b c", ""},
		{"a b c d e", "a b x d e", "  b|- c|+ x|  d"},
		{"a", "b", "- a|+ b"},
		{"a b", "b", "- a|  b"},
		{"a", "a b", "  a|+ b"},
	} {
		got := strings.Join(lineDiff(strings.Fields(tt.a), strings.Fields(tt.b)), "|")
		if got != tt.want {
			t.Errorf("%s, %s: got %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
	if got := lineDiff(make([]string, 2000), make([]string, 2000)); len(got) != 1 {
		t.Errorf("a large difference: got %d lines, want a word on it", len(got))
	}
}
