package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A position file says how far each file was published, so that a command which
// ended too early goes on behind it. The order of the steps of one event is:
//
//  1. the broker has confirmed it, or it was refused for good;
//  2. where --refused is given, what was refused is in that file;
//  3. the position moves behind it, in memory;
//  4. the position is written beside its file, synced, and renamed over it, each
//     saveEvery and whenever the command ends by itself.
//
// So a crash anywhere leaves a position that is never ahead of what the broker
// has: some events are published again, which is harmless as each keeps its source
// and id, and none is skipped. What lies before the position is read again and
// compared with the print of what was published, before anything else is sent.

// positionFormat is the version of the file.
const positionFormat = 1

// saveEvery is how often the position is written while events are published: each
// time costs a sync.
const saveEvery = time.Second

// positions is what a position file holds.
type positions struct {
	V        int                 `json:"v"`
	Settings string              `json:"settings"` // print of the lane and the mapping: other ones are another publication
	Files    map[string]position `json:"files"`    // by absolute path; - is standard input

	path  string
	saved time.Time
	dirty bool
}

// position is how far one file was published.
type position struct {
	Offset int64  `json:"offset"` // behind the last event that is done
	Place  string `json:"place"`  // of that event, for a person
	Size   int64  `json:"size,omitzero"`
	Print  string `json:"print"` // SHA-256 of all before the offset
}

// readPositions reads a position file; one that is not there is a beginning. path
// may be empty: then nothing is kept.
func readPositions(path, settings string) (*positions, error) {
	p := &positions{V: positionFormat, Settings: settings, Files: make(map[string]position), path: path}
	if path == "" {
		return p, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, p.write() // that it cannot be written is said before anything is published
	}
	if err != nil {
		return nil, err
	}
	var old positions
	switch err := json.Unmarshal(text, &old); {
	case err != nil:
		return nil, fmt.Errorf("%s is no position file: %w", path, err)
	case old.V != positionFormat:
		return nil, fmt.Errorf("%s has format %d, this weir reads %d: use the one that wrote it, or take the file away and publish from the beginning: nobody is called twice for one event", path, old.V, positionFormat)
	case old.Settings != settings:
		return nil, fmt.Errorf("%s was written by a command with another lane, source, type or mapping: give those again, or another --position", path)
	}
	if old.Files != nil {
		p.Files = old.Files
	}
	return p, nil
}

// keyOf is the name of a file in the positions.
func keyOf(name string) string {
	if name == "-" {
		return name
	}
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// move notes that a file was published so far, and writes that down now and then.
// before is called before it is written.
func (p *positions) move(name string, at position, before func() error) error {
	if p.path == "" {
		return nil
	}
	p.Files[keyOf(name)], p.dirty = at, true
	if time.Since(p.saved) < saveEvery {
		return nil
	}
	return p.save(before)
}

// save writes what was moved.
func (p *positions) save(before func() error) error {
	if p.path == "" || !p.dirty {
		return nil
	}
	if err := before(); err != nil {
		return err
	}
	if err := p.write(); err != nil {
		return fmt.Errorf("the position could not be written: %w", err)
	}
	p.saved, p.dirty = time.Now(), false
	return nil
}

// write replaces the file as a whole: a crash leaves the old one or the new one.
func (p *positions) write() (err error) {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p.path), ".weir-position-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // it may be gone
		}
	}()
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), p.path)
}

// tape is a file as it is read, whose bytes are cut off piece by piece and printed.
type tape struct {
	r      io.Reader
	rest   []byte // read, and not cut off
	at     int64  // where rest begins
	digest hash.Hash
}

func newTape(r io.Reader) *tape { return &tape{r: r, digest: sha256.New()} }

// Read implements io.Reader.
func (t *tape) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	t.rest = append(t.rest, b[:n]...)
	return n, err
}

// cut cuts off what lies before an offset, and returns it.
func (t *tape) cut(offset int64) []byte {
	n := min(max(offset-t.at, 0), int64(len(t.rest)))
	piece := t.rest[:n]
	t.digest.Write(piece)
	t.rest, t.at = t.rest[n:], t.at+n
	return piece
}

// print is the print of all that was cut off.
func (t *tape) print() string { return hex.EncodeToString(t.digest.Sum(nil)) }

// pass takes the tape behind a message that was published before, up to the
// position, and reports whether the position is reached. What is there must be what
// was published.
func (t *tape) pass(end int64, to position) (reached bool, err error) {
	if end < to.Offset {
		t.cut(end)
		return false, nil
	}
	t.cut(to.Offset)
	same := t.print() == to.Print
	if more := t.cut(end); !same || strings.TrimSpace(string(more)) != "" {
		return false, errChanged(to)
	}
	return true, nil
}

// errChanged is a file whose beginning is not what was published.
func errChanged(to position) error {
	return fmt.Errorf("it is not the file that was published up to %s: what stands before that has changed, so it cannot be gone on with. Take the position file away to publish all of it: an event with the same source and id calls nobody twice", to.Place)
}
