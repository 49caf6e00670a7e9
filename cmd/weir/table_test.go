package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestLineCutter(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	c := &lineCutter{w: &b, width: 8}
	for _, part := range []string{"short\nexactly8\nlonger", " than it\n", "ümläüte ", "auch\n", "rest of it"} {
		if _, err := fmt.Fprint(c, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "short\nexactly8\nlonger…\nümläüte…\nrest of…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"plain, ümläut, 佐藤, 👩🏽\u200d💻", "plain, ümläut, 佐藤, 👩🏽\u200d💻"},
		{"a\x1b[2Jb\r\nc\u009bd", "a [2Jb  c d"},
		{"left\u202eright", "left right"},
		{"bad\xffbyte", "bad\uFFFDbyte"},
	} {
		if got := clean(tt.in); got != tt.want {
			t.Errorf("clean(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}
