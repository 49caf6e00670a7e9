// Command noskip reads the event lines that go test -json wrote to a file and
// exits with 1 if they are no proof: a test was skipped, or none ran at all. It
// prints each skipped test. A clean file prints nothing.
//
//	noskip FILE
//
// A package without tests is no skipped test. A line that is no event, or that
// is cut, is an error: what cannot be read may hold a skip.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "noskip:", err)
		os.Exit(1)
	}
}

// run judges the file that args name.
func run(args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: noskip FILE")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if err := judge(f, stdout); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// event is the part of a test event that counts. Events of a whole package name
// no test.
type event struct {
	Action  string
	Package string
	Test    string
}

// judge reads events to their end, prints the skipped tests and says whether
// the rest is proof.
func judge(events io.Reader, stdout io.Writer) error {
	passed, skipped := 0, 0
	lines := bufio.NewReader(events)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case e.Test == "":
		case e.Action == "pass":
			passed++
		case e.Action == "skip":
			skipped++
			fmt.Fprintf(stdout, "skipped: %s %s\n", e.Package, e.Test)
		}
	}
	switch {
	case skipped > 0:
		return fmt.Errorf("%d skipped, and a skipped test proves nothing", skipped)
	case passed == 0:
		return errors.New("no test passed")
	}
	return nil
}
