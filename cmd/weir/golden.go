package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// goldenSuffix ends the name of what is expected of the event NAME.json.
const goldenSuffix = ".golden.json"

// golden is what is expected of one event: the part of its explanation that the
// same event and the same routes make again each time. Where an account's API is
// and how old the event is are no part of it.
type golden struct {
	Lane   string          `json:"lane"`
	Route  *int            `json:"route,omitzero"`
	Result string          `json:"result"` // sent, suppressed or refused; of a dry run as if it were none
	Class  string          `json:"class,omitzero"`
	Field  string          `json:"field,omitzero"`
	Reason string          `json:"reason,omitzero"`
	Body   json.RawMessage `json:"body,omitempty"` // of the request
}

// What became of one pair of files.
const (
	goldenOK      = "ok"
	goldenDiffers = "differs"
	goldenMissing = "missing"
	goldenOrphan  = "orphan"
	goldenWritten = "written"
)

// goldenRow is one pair of files.
type goldenRow struct {
	Event  string   `json:"event"`
	Result string   `json:"result"` // ok, differs, missing, orphan or written
	Diff   []string `json:"diff,omitempty"`
	Next   string   `json:"next,omitzero"` // what to do
}

// golden compares the events of a folder with what is expected of them.
func (x *explainer) golden(dir string, update bool) error {
	x.ageless = true
	events, orphans, err := goldenFiles(dir)
	if err != nil {
		return err
	}
	if len(events) == 0 && len(orphans) == 0 {
		return fmt.Errorf("%s holds no event: put one into a file NAME.json, and run weir explain --golden %s --update", dir, dir)
	}
	rows := make([]goldenRow, 0, len(events)+len(orphans))
	bad := 0
	for _, name := range events {
		row, err := x.compare(dir, name, update)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	for _, name := range orphans {
		rows = append(rows, goldenRow{Event: name, Result: goldenOrphan, Next: "put back the event, or remove " + goldenName(name)})
	}
	for _, row := range rows {
		if row.Result != goldenOK && row.Result != goldenWritten {
			bad++
		}
	}
	if err := x.app.print(rows, func(w io.Writer) { drawGolden(w, rows) }); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d events are not as expected; if that is right, run weir explain --golden %s --update", bad, len(rows), dir)
	}
	return nil
}

// goldenFiles returns the events of a folder, and the names of those that are
// expected and not there.
func goldenFiles(dir string) (events, orphans []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	var expected []string
	for _, e := range entries {
		name, isGolden := strings.CutSuffix(e.Name(), goldenSuffix)
		switch {
		case e.IsDir():
		case isGolden:
			expected = append(expected, name+".json")
		case filepath.Ext(e.Name()) == ".json":
			events = append(events, e.Name())
		}
	}
	orphans = slices.DeleteFunc(expected, func(name string) bool { return slices.Contains(events, name) })
	return events, orphans, nil
}

// goldenName is the file with what is expected of an event.
func goldenName(event string) string { return strings.TrimSuffix(event, ".json") + goldenSuffix }

// compare holds one event against what is expected of it, or writes that anew.
func (x *explainer) compare(dir, name string, update bool) (goldenRow, error) {
	row := goldenRow{Event: name, Result: goldenOK}
	found, err := x.expected(filepath.Join(dir, name))
	if err != nil {
		return row, err
	}
	path := filepath.Join(dir, goldenName(name))
	before, err := readGolden(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		row.Result, row.Next = goldenMissing, "look at it with weir explain, then write "+goldenName(name)+" with --update"
	case err != nil:
		row.Result, row.Next = goldenDiffers, err.Error()
	case before != found:
		row.Result, row.Diff = goldenDiffers, lineDiff(strings.Split(before, "\n"), strings.Split(found, "\n"))
	}
	if update && row.Result != goldenOK {
		row = goldenRow{Event: name, Result: goldenWritten}
		return row, writeGolden(path, found)
	}
	return row, nil
}

// expected is what the only event of a file would be expected to become.
func (x *explainer) expected(path string) (string, error) {
	var all []explained
	err := x.file(source{name: path, format: "json"}, func(e explained) error {
		if all = append(all, e); len(all) > 1 {
			return fmt.Errorf("%s holds more than one event: give each a file of its own", path)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return "", fmt.Errorf("%s holds no event", path)
	}
	return encodeJSON(all[0].golden(), "")
}

// golden is the part of an explanation that is always the same.
func (e explained) golden() golden {
	g := golden{Lane: e.Lane, Route: e.Route, Result: e.Result, Class: e.Class, Field: e.Field, Reason: e.Reason}
	if e.Request != nil { // whether the lane rehearses is no matter of its routes
		g.Result, g.Class, g.Reason = resultSent, "", ""
		g.Body = e.Request.Body
	}
	return g
}

// readGolden reads what is expected, in the layout in which it is written, however
// it was laid out by hand.
func readGolden(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var g golden
	dec := json.NewDecoder(io.LimitReader(f, maxLine))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&g); err != nil {
		return "", fmt.Errorf("%s cannot be read (%w): mend it, or write it anew with --update", filepath.Base(path), err)
	}
	return encodeJSON(g, "")
}

// writeGolden puts what is expected in the place of what was there, whole or not at
// all.
func writeGolden(path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".golden-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(text + "\n")
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// drawGolden draws the table, with the differences below it.
func drawGolden(w io.Writer, rows []goldenRow) {
	fmt.Fprintln(w, "EVENT\tRESULT\tNEXT")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", clean(r.Event), r.Result, or(r.Next))
	}
	for _, r := range rows {
		if len(r.Diff) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s (- expected, + found)\n", clean(r.Event))
		for _, line := range r.Diff {
			fmt.Fprintln(w, clean(line))
		}
	}
}

// mostDiff bounds the table of lineDiff: a thousand lines on either side.
const mostDiff = 1_000_000

// lineDiff returns the lines of a that are not in b with a minus, those of b that are
// not in a with a plus, and a line around them as it is.
func lineDiff(a, b []string) []string {
	if len(a)*len(b) > mostDiff {
		return []string{"the difference is too large to be shown"}
	}
	all := common(a, b)
	near := func(i int) bool {
		for _, j := range []int{i - 1, i, i + 1} {
			if j >= 0 && j < len(all) && all[j][0] != ' ' {
				return true
			}
		}
		return false
	}
	var out []string
	for i, line := range all {
		if near(i) {
			out = append(out, line)
		}
	}
	return out
}

// common walks along a longest common subsequence of a and b.
func common(a, b []string) []string {
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := range slices.Backward(a) {
		for j := len(b) - 1; j >= 0; j-- {
			if longest[i][j] = max(longest[i+1][j], longest[i][j+1]); a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out, i, j = append(out, "  "+a[i]), i+1, j+1
		case j == len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1]:
			out, i = append(out, "- "+a[i]), i+1
		default:
			out, j = append(out, "+ "+b[j]), j+1
		}
	}
	return out
}
