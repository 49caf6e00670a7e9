package main

import (
	"context"
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

// source is one file to publish.
type source struct {
	name   string // - for standard input
	format string // json, ndjson, csv or tsv
	size   int64  // in bytes; 0: not known
	once   bool   // it can be read once only: standard input, a pipe
}

// ofEvents are the ends of the files in a folder that are published.
var ofEvents = []string{".json", ".ndjson", ".jsonl", ".csv", ".tsv"}

// sources are the files that are named, and of a folder those below it that hold
// events, by their names. passed is told of those that do not. own are written by
// the command itself: they are not to be read.
func (l layout) sources(names []string, passed func(name string), own ...string) ([]source, error) {
	var all []source
	var errs []error
	for _, name := range names {
		info, err := stat(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case info == nil:
			all = append(all, source{name: name, format: l.formatOf(name), once: true})
		case info.IsDir():
			below, err := l.folder(name, passed, own)
			errs = append(errs, err)
			all = append(all, below...)
		case isOne(info, own):
			errs = append(errs, usageError{fmt.Errorf("%s is a file of events, and a file that this command writes: give --position and --refused other names", name)})
		default:
			all = append(all, l.source(name, info))
		}
	}
	return all, errors.Join(errs...)
}

// stat looks at a file; nil is standard input.
func stat(name string) (fs.FileInfo, error) {
	if name == "-" {
		return nil, nil //nolint:nilnil // it has no name
	}
	return os.Stat(name)
}

// isOne reports whether a file is one of those with these names.
func isOne(info fs.FileInfo, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		other, err := os.Stat(name)
		return err == nil && os.SameFile(info, other)
	})
}

func (l layout) source(name string, info fs.FileInfo) source {
	return source{name: name, format: l.formatOf(name), size: info.Size(), once: !info.Mode().IsRegular()}
}

func (l layout) formatOf(name string) string {
	if l.Format == "" || l.Format == "auto" {
		return formatOf(name)
	}
	return l.Format
}

// folder finds the files below a folder, which may be a link to one. What begins
// with a dot is left alone.
func (l layout) folder(root string, passed func(name string), own []string) ([]source, error) {
	var all []source
	root = strings.TrimRight(root, string(filepath.Separator)) + string(filepath.Separator) // of a link: what it leads to
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch hidden := name != root && strings.HasPrefix(entry.Name(), "."); {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return fs.SkipDir
		case hidden || entry.IsDir():
			return nil
		case !slices.Contains(ofEvents, strings.ToLower(filepath.Ext(name))):
			passed(name)
			return nil
		}
		info, err := os.Stat(name) // of what a link leads to
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || isOne(info, own) {
			passed(name)
			return nil
		}
		all = append(all, l.source(name, info))
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("folder %s holds no file of events (%s)", root, strings.Join(ofEvents, ", "))
	}
	return all, err
}

// passOver tells of a file in a folder that is not read.
func (a *app) passOver(name string) {
	fmt.Fprintf(a.stderr, "weir: %s: passed over; events are in .json, .ndjson, .jsonl, .csv and .tsv\n", clean(name))
}

// open opens a file. A read of standard input ends with the command: a terminal
// that nobody types at must not keep it.
func (p *publisher) open(name string) (io.ReadCloser, error) {
	if name != "-" {
		return os.Open(name)
	}
	r, w := io.Pipe()
	go func() { // ends with the input, at the latest with the process
		_, err := io.Copy(w, p.app.stdin)
		_ = w.CloseWithError(err) // never fails
	}()
	context.AfterFunc(p.app.ctx, func() { _ = r.CloseWithError(p.app.ctx.Err()) })
	return r, nil
}

// mostRefused is how many refusals a person is shown.
const mostRefused = 20

// refusal is one event that was not published.
type refusal struct {
	Place    string          `json:"place"`
	Reason   string          `json:"reason"`
	Original json.RawMessage `json:"original,omitempty"` // as it stands in the file: JSON, or its text
}

// lateRefused is what the file of what a position passes over is called, behind the
// position's name.
const lateRefused = ".refused"

// refusals keeps what was not published, each a line in a file, if there is one.
type refusals struct {
	f    *os.File
	n    int
	late string // a file that is made when something is refused
}

// refusals opens the file of --refused; what is there stays if a publication goes
// on. A position passes over what was refused, so beside one there always is a file.
func (c *publishCmd) refusals(goesOn bool) (*refusals, error) {
	if c.Refused != "" {
		return openRefusals(c.Refused, goesOn)
	}
	if c.Position == "" {
		return &refusals{}, nil
	}
	r := &refusals{late: c.Position + lateRefused}
	if goesOn {
		return r, nil
	}
	if err := os.Remove(r.late); !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	return r, nil
}

func openRefusals(path string, goesOn bool) (*refusals, error) {
	how := os.O_TRUNC
	if goesOn {
		how = os.O_APPEND
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|how, 0o600) // it holds personal data
	return &refusals{f: f}, err
}

// add keeps one.
func (r *refusals) add(m message, reason error) error {
	r.n++
	if r.f == nil && r.late != "" {
		opened, err := openRefusals(r.late, true)
		if err != nil {
			return err
		}
		r.f = opened.f
	}
	if r.f == nil {
		return nil
	}
	line := refusal{Place: m.place, Reason: reason.Error(), Original: m.original}
	if !json.Valid(m.original) {
		line.Original, _ = json.Marshal(strings.ToValidUTF8(string(m.original), "\uFFFD")) // a text always encodes
	}
	text, err := json.Marshal(line)
	if err == nil {
		_, err = r.f.Write(append(text, '\n'))
	}
	return err
}

// sync makes what is there durable.
func (r *refusals) sync() error {
	if r.f == nil {
		return nil
	}
	return r.f.Sync()
}

func (r *refusals) close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

// tell says what was not shown.
func (r *refusals) tell(w io.Writer) {
	switch more := r.n - mostRefused; {
	case more > 0 && r.f == nil:
		fmt.Fprintf(w, "weir: %d more were not published; --refused FILE keeps them all, with their reasons\n", more)
	case r.f != nil && r.n > 0:
		fmt.Fprintf(w, "weir: %s has all %d that were not published\n", r.f.Name(), r.n)
	}
}
