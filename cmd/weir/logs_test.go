package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

func noEnv(string) string { return "" }

func TestLogFormats(t *testing.T) {
	t.Parallel()
	write := func(format string) string {
		var b bytes.Buffer
		lg := logger(&b, format, zerolog.InfoLevel, noEnv)
		lg.Debug().Msg("not written")
		lg.Warn().Str("lane", "sales").Str("reason", "call +14155550123").Str("account", "acme").Msg("attempt")
		return b.String()
	}
	for _, format := range []string{"json", "auto"} { // a buffer is no terminal
		got := write(format)
		if !strings.HasPrefix(got, `{"level":"warn","lane":"sales","reason":"call …23","account":"acme","time":"`) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: got %q", format, got)
		}
	}
	got := write("console")
	if !strings.Contains(got, ` WARN  attempt              lane=sales reason="call …23" account=acme`) || strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 1 {
		t.Errorf("console: got %q, want aligned columns without colours", got)
	}
}

func TestLevelColumn(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]string{"debug": "DEBUG", "info": "INFO ", "warn": "\x1b[33mWARN \x1b[0m", "error": "\x1b[31mERROR\x1b[0m"} {
		if got := levelColumn(level, false); got != want {
			t.Errorf("%s: got %q, want %q", level, got, want)
		}
		if got := levelColumn(level, true); len(got) != 5 || strings.Contains(got, "\x1b") {
			t.Errorf("%s without colours: got %q, want five letters", level, got)
		}
	}
}

// The level changes while the process runs, for loggers that were made before.
func TestTheLevelChangesAtRunTime(t *testing.T) {
	t.Parallel()
	var b syncBuffer
	level := newLogLevel(zerolog.WarnLevel)
	lg := adjustable(&b, "json", level, noEnv)
	bound := lg.With().Str("lane", "sales").Logger()
	says := func() string {
		before := len(b.String())
		bound.Debug().Msg("debug")
		bound.Info().Msg("info")
		bound.Warn().Msg("warn")
		var said []string
		for _, word := range []string{"debug", "info", "warn"} {
			if strings.Contains(b.String()[before:], `"message":"`+word+`"`) {
				said = append(said, word)
			}
		}
		return strings.Join(said, " ")
	}
	signals := make(chan os.Signal)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go level.obey(ctx, lg, signals, syscall.SIGUSR1)
	told := 0
	send := func(s os.Signal) {
		signals <- s
		told++
		await(t, patience, "the log to say so", func() bool { return strings.Count(b.String(), `"message":"log level changed"`) == told })
	}
	if got := says(); got != "warn" {
		t.Errorf("at the start: got %q", got)
	}
	send(syscall.SIGUSR1)
	if got := says(); got != "info warn" {
		t.Errorf("one more: got %q", got)
	}
	send(syscall.SIGUSR1)
	send(syscall.SIGUSR1)
	if got := says(); got != "debug info warn" {
		t.Errorf("all: got %q", got)
	}
	send(syscall.SIGUSR2)
	if got := says(); got != "warn" {
		t.Errorf("as at the start: got %q", got)
	}
}
