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
}

// ofEvents are the ends of the files in a folder that are published.
var ofEvents = []string{".json", ".ndjson", ".jsonl", ".csv", ".tsv"}

// sources are the files that are named, and of a folder those below it that hold
// events, by their names. passed is told of those that do not.
func (c *publishCmd) sources(passed func(name string)) ([]source, error) {
	var all []source
	var errs []error
	for _, name := range c.Files {
		info, err := stat(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case info == nil:
			all = append(all, c.source(name, 0))
		case !info.IsDir():
			all = append(all, c.source(name, info.Size()))
		default:
			below, err := c.folder(name, passed)
			errs = append(errs, err)
			all = append(all, below...)
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

func (c *publishCmd) source(name string, size int64) source {
	s := source{name: name, format: c.Format, size: size}
	if c.Format == "" || c.Format == "auto" {
		s.format = formatOf(name)
	}
	return s
}

// folder finds the files below a folder. What begins with a dot is left alone.
func (c *publishCmd) folder(root string, passed func(name string)) ([]source, error) {
	var all []source
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
		if !info.Mode().IsRegular() {
			passed(name)
			return nil
		}
		all = append(all, c.source(name, info.Size()))
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("folder %s holds no file of events (%s)", root, strings.Join(ofEvents, ", "))
	}
	return all, err
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
	r := &refusals{late: c.Position + ".refused"}
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
