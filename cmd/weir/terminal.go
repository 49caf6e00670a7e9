package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// clever reports whether w is a terminal that can do more than write lines.
func clever(w io.Writer, getenv func(string) string) bool {
	switch getenv("TERM") {
	case "", "dumb":
		return false
	default:
		return isTerminal(w)
	}
}

// plain ends a colour.
const plain = "\x1b[0m"

// The colours, which say how well something is.
const (
	good  = "\x1b[32m"
	heed  = "\x1b[33m"
	bad   = "\x1b[31m"
	faint = "\x1b[2m"
	bold  = "\x1b[1m"
)

// brush colours words, or leaves them as they are.
type brush bool

// brush returns that for standard output: colour is for terminals whose user does
// not refuse it (no-color.org).
func (a *app) brush() brush { return a.brushFor(a.stdout) }

func (a *app) brushFor(w io.Writer) brush {
	return brush(a.flags.Output != "json" && a.getenv("NO_COLOR") == "" && clever(w, a.getenv))
}

// paint colours a word; colour may be empty.
func (b brush) paint(colour, word string) string {
	if !b || colour == "" || word == "" {
		return word
	}
	return colour + word + plain
}

// stateColour says how well a lane is.
func stateColour(state string) string {
	switch state {
	case "running":
		return good
	case "waiting": // for a slot, as a rule: as it should be
		return ""
	case "paused":
		return heed
	default:
		return bad
	}
}

// resultColour says how well a check went.
func resultColour(result string) string {
	switch result {
	case checkOK:
		return good
	case checkWarn:
		return heed
	default:
		return bad
	}
}
