package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestTextWidth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": 0, "plain": 5, "ümläut": 6, "u\u0308": 1, "佐藤": 4, "ＡＢ": 4, "한국": 4, "👩🏽\u200d💻": 2, "✅ ok": 5,
		"\x1b[31mred\x1b[0m": 3, "zero\u200bwidth": 9,
	} {
		if got := textWidth(text); got != want {
			t.Errorf("textWidth(%q): got %d, want %d", text, got, want)
		}
	}
}

func TestCutLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		width int
		want  string
	}{
		{"佐藤さん", 8, "佐藤さん"}, {"佐藤さん", 7, "佐藤さ…"}, {"佐藤さん", 6, "佐藤…"}, {"u\u0308ber", 3, "u\u0308b…"},
		{"\x1b[31mstopped\x1b[0m", 7, "\x1b[31mstopped\x1b[0m"}, {"\x1b[31mstopped\x1b[0m", 4, "\x1b[31msto…\x1b[0m"}, {"ab", 1, "…"},
	} {
		if got := cutLine(tt.in, tt.width); got != tt.want {
			t.Errorf("cutLine(%q, %d): got %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}

// Columns stand under each other whatever stands in them.
func TestTablesAreAligned(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tab := &tabulator{w: &out}
	for _, cell := range []string{"plain", "佐藤", "👩🏽\u200d💻", "u\u0308", "\x1b[31mred\x1b[0m", "a-name-that-is-long-\U000f0001"} {
		fmt.Fprintf(tab, "%s\t|\t\x1b[32mok\x1b[0m\t%s|\n", cell, cell)
	}
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	places := make(map[string]bool)
	for line := range strings.Lines(out.String()) {
		first, _, _ := strings.Cut(line, "|")
		places[fmt.Sprint(textWidth(first))] = true
		if !strings.Contains(line, "\x1b[32mok\x1b[0m") {
			t.Errorf("got %q, want each cell as it was given", line)
		}
	}
	if len(places) != 1 || strings.Count(out.String(), "\n") != 6 {
		t.Errorf("the second column begins at %v of:\n%s", places, out.String())
	}
	for _, want := range []string{"佐藤", "👩🏽\u200d💻", "u\u0308", "\U000f0001"} {
		if strings.Count(out.String(), want) != 2 {
			t.Errorf("%q was changed", want)
		}
	}
}

// Nothing that is no terminal is coloured, nor a screen.
func TestColourIsForTerminals(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, env := range []map[string]string{{"TERM": "xterm"}, {"TERM": "xterm", "NO_COLOR": "1"}, {}} {
		a := &app{stdout: &out, flags: &cli{Output: "table"}, getenv: func(name string) string { return env[name] }}
		if got := a.brush().paint(bad, "stopped"); got != "stopped" {
			t.Errorf("off a terminal: got %q", got)
		}
		if _, whole := a.screenOn(a.stdout); whole {
			t.Error("a screen off a terminal")
		}
	}
	if got := brush(true).paint(bad, "stopped"); got != bad+"stopped"+plain {
		t.Errorf("got %q", got)
	}
}
