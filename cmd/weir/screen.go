package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// screen is a whole terminal that is drawn again and again. It draws over what is
// there, a page in one write, so that nothing flickers; the lines that were there
// before it are there again when it is left.
type screen struct {
	w    io.Writer
	size func() (width, height int)
}

// The sequences of a screen: into the other page of the terminal with the cursor
// hidden, and back; to the first place; the rest of a line, or of the page, is empty.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	endLine     = "\x1b[K"
	endPage     = "\x1b[J"
)

// screenOn is a screen on w, if w is a terminal that can do it and whose user looks
// at it: a terminal of a build machine is none.
func (a *app) screenOn(w io.Writer) (*screen, bool) {
	f, ok := w.(*os.File)
	if !ok || a.getenv("CI") != "" || !clever(w, a.getenv) {
		return nil, false
	}
	return &screen{w: w, size: func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width < 1 || height < 1 {
			return 80, 24
		}
		return width, height
	}}, true
}

// screenPoll is how often the terminal's size is looked at: it is a call of the
// system's that costs nothing.
const screenPoll = 100 * time.Millisecond

// show draws what page returns until ctx ends: whenever something comes on news, and
// when the size has changed. The terminal is put back whatever happens, a panic of
// page included.
func (s *screen) show(ctx context.Context, news <-chan struct{}, page func(width, height int) []string) {
	_, _ = io.WriteString(s.w, enterScreen)
	defer func() { _, _ = io.WriteString(s.w, leaveScreen) }()
	poll := time.NewTicker(screenPoll)
	defer poll.Stop()
	width, height := 0, 0
	for {
		nowWidth, nowHeight := s.size()
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-poll.C:
			if nowWidth == width && nowHeight == height {
				continue
			}
		}
		width, height = nowWidth, nowHeight
		s.draw(page(width, height), width, height)
	}
}

// draw draws a page: its first lines, if there are too many. A terminal that is as
// wide as a line would break it after the last place, so that it is left free of
// line breaks; the last line has none either, or all would move up.
func (s *screen) draw(lines []string, width, height int) {
	var b strings.Builder
	b.WriteString(goHome)
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		line = cutLine(line, width)
		b.WriteString(line)
		if textWidth(line) < width { // else it would clear the last place
			b.WriteString(endLine)
		}
	}
	if len(lines) < height {
		b.WriteString("\r\n")
		b.WriteString(endPage)
	}
	_, _ = io.WriteString(s.w, b.String()) // a terminal that went away ends the process by itself
}

// gauge draws n of limit as a bar of width places: what is beyond the limit is seen
// by a mark.
func gauge(n, limit, width int) string {
	if limit < 1 || width < 1 {
		return strings.Repeat(" ", max(0, width))
	}
	full := min(max(n, 0), limit) * width / limit
	if n > 0 && full == 0 {
		full = 1 // a slot in use is seen, however many there are
	}
	if n < limit && full == width && width > 1 {
		full-- // and a free one as well
	}
	bar := strings.Repeat("█", full) + strings.Repeat("░", width-full)
	if n > limit {
		bar = strings.Repeat("█", width-1) + "!"
	}
	return bar
}
