package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/journal"
)

// logLevel is the least serious level that is written. It may be changed while the
// process runs.
type logLevel struct {
	least atomic.Int32 // a zerolog.Level; changed by obey, read by each line
	start zerolog.Level
}

func newLogLevel(start zerolog.Level) *logLevel {
	l := &logLevel{start: start}
	l.least.Store(int32(start))
	return l
}

// more lets one more kind of lines be written, down to debug.
func (l *logLevel) more() zerolog.Level {
	next := max(zerolog.DebugLevel, zerolog.Level(l.least.Load())-1) //nolint:gosec // it is one
	l.least.Store(int32(next))
	return next
}

// reset lets the level be what it was at the start.
func (l *logLevel) reset() zerolog.Level {
	l.least.Store(int32(l.start))
	return l.start
}

// leveled is a writer that leaves out what is not serious enough at this moment.
type leveled struct {
	io.Writer

	level *logLevel
}

// WriteLevel implements zerolog.LevelWriter.
func (w leveled) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if level != zerolog.NoLevel && int32(level) < w.level.least.Load() {
		return len(line), nil
	}
	return w.Write(line)
}

// logger is what a command logs to: masked lines of JSON, or for people.
func logger(w io.Writer, format string, level zerolog.Level, getenv func(string) string) zerolog.Logger {
	return zerolog.New(journal.Masked(logWriter(w, format, getenv))).Level(level).With().Timestamp().Logger()
}

// adjustable is logger with a level that can be changed.
func adjustable(w io.Writer, format string, level *logLevel, getenv func(string) string) zerolog.Logger {
	out := leveled{journal.Masked(logWriter(w, format, getenv)), level}
	return zerolog.New(out).Level(min(zerolog.DebugLevel, level.start)).With().Timestamp().Logger()
}

// logWriter is lines for people where the format says so, or where it says nothing
// and w is a terminal; else JSON. It has colours on a terminal alone, and none with
// NO_COLOR.
func logWriter(w io.Writer, format string, getenv func(string) string) io.Writer {
	terminal := isTerminal(w)
	if format == "json" || format == "auto" && !terminal {
		return w
	}
	plain := !terminal || getenv("NO_COLOR") != "" || getenv("TERM") == "dumb"
	return zerolog.ConsoleWriter{
		Out: w, NoColor: plain, TimeFormat: time.TimeOnly,
		FormatLevel:   func(v any) string { return levelColumn(v, plain) },
		FormatMessage: func(v any) string { return fmt.Sprintf("%-20v", or(fmt.Sprint(v))) },
		FieldsOrder: []string{
			"lane", "event_id", "verdict", "state", "result", "reason", "cause", "rule", "until", "conversation", "attempt",
		},
		FieldsExclude: []string{"event_source", "event_type", "trace_id", "prepared_seconds", "answer_seconds"},
	}
}

// levelColumn is a level's column: only what somebody should look at has a colour.
func levelColumn(v any, plain bool) string {
	name := strings.ToUpper(fmt.Sprint(v))
	name = fmt.Sprintf("%-5s", name[:min(len(name), 5)])
	colour := map[string]int{"WARN ": 33, "ERROR": 31, "FATAL": 31, "PANIC": 31}[name]
	if plain || colour == 0 {
		return name
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, name)
}

// obey changes the level as signals ask, until ctx ends.
func (l *logLevel) obey(ctx context.Context, lg zerolog.Logger, signals <-chan os.Signal, more os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			var level zerolog.Level
			if s == more {
				level = l.more()
			} else {
				level = l.reset()
			}
			lg.Log().Stringer("log_level", level).Msg("log level changed")
		}
	}
}
