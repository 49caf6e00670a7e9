package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

// pagesDesk is what the console's pages beside those of lanes read and do, with what
// the command line has for it.
type pagesDesk struct {
	*desk
	lg zerolog.Logger
	// turn is held by who looks through streams or the whole ledger: the engines of
	// this process need the broker too.
	turn chan struct{}
}

func newPagesDesk(lg zerolog.Logger, d *desk) *pagesDesk {
	return &pagesDesk{desk: d, lg: lg, turn: make(chan struct{}, 1)}
}

// looking waits for the turn to look through much, and bounds how long it lasts: a
// part of the time that there is, so that what was found can still be shown.
func (d *pagesDesk) looking(ctx context.Context) (_ context.Context, done func(), err error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, console.Denied{Text: "Others are looking through the broker's streams just now.", Next: "Try again in a few seconds."}
	}
	cancel := context.CancelFunc(func() {})
	if end, ok := ctx.Deadline(); ok {
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)*2/3)
	}
	return ctx, func() { cancel(); <-d.turn }, nil
}

// ranOut reports whether a look was ended by its time. What a broker that does not
// answer says looks the same; then nothing was read.
func ranOut(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded))
}

// decided is an act's decision.
func decided(a console.Act) decision { return decision{Reason: a.Reason, By: a.By} }

// sentence makes a whole one of what a command says.
func sentence(s string) string {
	s = strings.TrimSpace(clean(schema.Mask(s)))
	first, size := utf8.DecodeRuneInString(s)
	if s == "" {
		return ""
	}
	if s = string(unicode.ToUpper(first)) + s[size:]; !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// overtaken says that somebody was faster.
func overtaken(now string) error {
	return console.Denied{
		Text: "Nothing was done: the event is not as you saw it. It is " + now + " now.",
		Next: "Somebody decided meanwhile, or it went on by itself. Look at it again.",
	}
}

// unread says what of a list is missing.
func unread(read, damaged int, cut bool, advice string) string {
	var said []string
	if cut {
		said = append(said, fmt.Sprintf("Only the first %d were read in the time that a page has. %s", read, advice))
	}
	if damaged > 0 {
		said = append(said, fmt.Sprintf("%d cannot be read; the command line says why.", damaged))
	}
	return strings.Join(said, " ")
}

// contentForConsole translates an event that is masked already.
func contentForConsole(c content) console.Content {
	out := console.Content{}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		out.Header = append(out.Header, [2]string{clean(name), clean(strings.Join(c.Header[name], ", "))})
	}
	switch {
	case c.Hidden > 0:
		out.Note = fmt.Sprintf("Its body is %d bytes that are no text.", c.Hidden)
	case len(c.Data) > 0:
		out.Body = pretty(string(c.Data))
	default:
		out.Body = pretty(c.Body)
	}
	if len(out.Body) > mostBody {
		out.Body = strings.ToValidUTF8(out.Body[:mostBody], "")
		out.Note = "The rest of it is not shown here; the command line shows it whole."
	}
	return out
}

// mostBody is how many bytes of an event a page shows.
const mostBody = 64 << 10

// InForce implements console.Settings.
func (d *pagesDesk) InForce(context.Context) (console.Configuration, error) {
	file, err := filepath.Abs(d.cfg.File)
	if err != nil {
		file = d.cfg.File
	}
	out := console.Configuration{File: file}
	for _, p := range d.cfg.InForce() {
		b := console.Block{Title: p.Title}
		for _, s := range p.Settings {
			b.Lines = append(b.Lines, console.Setting(s))
		}
		out.Blocks = append(out.Blocks, b)
	}
	return out, nil
}
