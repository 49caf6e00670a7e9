package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/internal/contact/register"
)

// contactImportCmd is weir contact import.
type contactImportCmd struct {
	File   string `arg:"" help:"A person a line, or CSV with --column; - for standard input. Lines that begin with # are comments."`
	Column string `placeholder:"NAME" help:"The file is CSV with a header, and this column has the people."`
	contactWhere
	Source string `placeholder:"TEXT" help:"Where the list is from; default: the file's name."`
	decision
}

// imported counts what became of a file's lines.
type imported struct {
	File    string `json:"file"`
	People  int    `json:"people"`
	Blocked int    `json:"blocked"`
	Before  int    `json:"already_blocked"`
	Failed  int    `json:"failed"`
}

// Bounds of an import.
const (
	importers    = 16       // writes at a time
	maxListLine  = 64 << 10 // bytes
	mostProblems = 20       // that are told each by itself
)

// Run blocks everybody in the file. It may be repeated: who is blocked stays so.
func (c *contactImportCmd) Run(a *app) error {
	by, err := c.signed(a)
	if err != nil {
		return err
	}
	in, name := a.stdin, "standard input"
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in, name = f, filepath.Base(c.File)
	}
	if c.Source == "" {
		c.Source = name
	}
	act := register.Act{By: by.By, Reason: by.Reason, Source: c.Source, At: time.Now()}
	return a.atList(c.Lane, func(d *listed) error {
		region, err := c.region(d.cfg)
		if err != nil {
			return err
		}
		im := &importer{app: a, list: d, lane: c.Lane, region: region, act: act, told: imported{File: name}}
		return im.run(c.lines(in))
	})
}

// listLine is one entry of a list.
type listLine struct {
	n    int // from 1
	text string
}

// lines yields the people of the file; an error ends it.
func (c *contactImportCmd) lines(r io.Reader) iter.Seq2[listLine, error] {
	br := bufio.NewReader(r)
	if mark, err := br.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = br.Discard(len(mark)) // what was peeked can be discarded
	}
	if c.Column != "" {
		return listColumn(br, c.Column)
	}
	return func(yield func(listLine, error) bool) {
		s := bufio.NewScanner(br)
		s.Buffer(nil, maxListLine)
		n := 0
		for s.Scan() {
			n++
			text := strings.TrimSpace(s.Text())
			if text == "" || strings.HasPrefix(text, "#") {
				continue
			}
			if !yield(listLine{n, text}, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(listLine{n: n + 1}, err)
		}
	}
}

// listColumn yields one column of a CSV file. Its separator is that of its header.
func listColumn(br *bufio.Reader, name string) iter.Seq2[listLine, error] {
	return func(yield func(listLine, error) bool) {
		head, _ := br.Peek(4096)
		header, _, _ := strings.Cut(string(head), "\n")
		r := csv.NewReader(br)
		if strings.Count(header, ";") > strings.Count(header, ",") {
			r.Comma = ';'
		}
		r.FieldsPerRecord, r.ReuseRecord, r.Comment = -1, true, '#'
		at := -1
		for {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			n := 0
			if err == nil {
				n, _ = r.FieldPos(0)
			}
			switch {
			case err != nil:
			case at < 0:
				if at = slices.Index(record, name); at >= 0 {
					continue
				}
				err = fmt.Errorf("the header has no column %q; it has: %s", name, strings.Join(record, ", "))
			case at >= len(record):
				if !yield(listLine{n: n}, nil) {
					return
				}
				continue
			}
			if err != nil {
				yield(listLine{n: n}, err)
				return
			}
			if !yield(listLine{n, record[at]}, nil) {
				return
			}
		}
	}
}

// importer blocks the people of one file.
type importer struct {
	app    *app
	list   *listed
	lane   string
	region string
	act    register.Act

	mu      sync.Mutex
	told    imported
	stopped error // of the broker: nothing more would succeed
	drawn   time.Time
}

// run blocks everybody, several at a time, and says what became of them.
func (im *importer) run(lines iter.Seq2[listLine, error]) error {
	work := make(chan listLine)
	var wg sync.WaitGroup
	for range importers {
		wg.Go(func() {
			for l := range work {
				im.take(l)
			}
		})
	}
	var broken error
	for l, err := range lines {
		if err == nil {
			err = im.app.ctx.Err()
		}
		if err != nil {
			broken = fmt.Errorf("line %d: %w", l.n, err)
			break
		}
		if im.over() {
			break
		}
		work <- l
	}
	close(work)
	wg.Wait()
	return im.report(broken)
}

// over reports whether nothing more would succeed.
func (im *importer) over() bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.stopped != nil
}

// take blocks the person of one line.
func (im *importer) take(l listLine) {
	p, err := register.ParsePerson(l.text, im.region)
	misread := err != nil
	changed := false
	if !misread {
		changed, err = im.list.register.Block(im.app.ctx, p, im.lane, im.act)
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	im.told.People++
	switch {
	case misread:
		im.told.Failed++
		if im.told.Failed <= mostProblems {
			fmt.Fprintf(im.app.stderr, "line %d: %v\n", l.n, err)
		}
	case err != nil:
		im.told.Failed++
		if im.stopped == nil {
			im.stopped = fmt.Errorf("line %d: %w", l.n, err)
		}
	case changed:
		im.told.Blocked++
	default:
		im.told.Before++
	}
	im.progress()
}

// progress draws how far it is, on a terminal. The caller holds mu.
func (im *importer) progress() {
	if !isTerminal(im.app.stderr) || time.Since(im.drawn) < 200*time.Millisecond {
		return
	}
	im.drawn = time.Now()
	fmt.Fprintf(im.app.stderr, "\r%d people", im.told.People)
}

// report says what became of the file.
func (im *importer) report(broken error) error {
	if !im.drawn.IsZero() {
		fmt.Fprint(im.app.stderr, "\r\x1b[K")
	}
	t := im.told
	err := im.app.print(t, func(w io.Writer) {
		fmt.Fprintln(w, "FILE\tPEOPLE\tBLOCKED\tALREADY\tFAILED")
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", or(t.File), t.People, t.Blocked, t.Before, t.Failed)
	})
	switch {
	case broken != nil || im.stopped != nil:
		err = errors.Join(err, broken, im.stopped, errors.New("the import did not come to its end; give the same command again: who is blocked stays so"))
	case t.Failed > 0:
		err = errors.Join(err, fmt.Errorf("%d of %d people were not blocked; set their lines right and give the same command again", t.Failed, t.People))
	}
	return err
}
