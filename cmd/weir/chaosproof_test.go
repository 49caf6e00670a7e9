//go:build chaos && linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/weirhq/weir/internal/chaos"
)

// proofLog reads the providers' log, each line once in a run of the program: a
// round is checked against what it added and against the sums of all before it.
type proofLog struct {
	path   string
	offset int64
	made   map[string]int // conversations by intent, of everything that was read
}

// next returns the lines behind those that were read. A line that is being
// written is left for later.
func (p *proofLog) next() (lines []chaos.Line, err error) {
	err = p.each(func(line chaos.Line) { lines = append(lines, line) })
	return lines, err
}

// skip reads what was written before, and keeps its sums alone.
func (p *proofLog) skip() error { return p.each(p.sum) }

func (p *proofLog) sum(line chaos.Line) {
	if line.Event == "made" {
		p.made[line.Intent]++
	}
}

func (p *proofLog) each(f func(chaos.Line)) error {
	file, err := os.Open(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(p.offset, io.SeekStart); err != nil {
		return err
	}
	for r := bufio.NewReader(file); ; {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		var line chaos.Line
		if err == nil {
			err = json.Unmarshal(text, &line)
		}
		if err != nil {
			return fmt.Errorf("proof at %d: %w", p.offset, err)
		}
		p.offset += int64(len(text))
		f(line)
	}
}
