package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	const (
		pass    = `{"Time":"2026-11-21T08:00:00Z","Action":"pass","Package":"m/a","Test":"TestA","Elapsed":0.1}` + "\n"
		skip    = `{"Action":"skip","Package":"m/a","Test":"TestB/deep","Elapsed":0}` + "\n"
		empty   = `{"Action":"skip","Package":"m/none","Elapsed":0}` + "\n"
		talk    = `{"Action":"output","Package":"m/a","Test":"TestA","Output":"{\"Action\":\"skip\",\"Test\":\"x\"}\n"}` + "\n"
		failed  = `{"Action":"fail","Package":"m/a","Test":"TestC"}` + "\n"
		compile = `{"ImportPath":"m/a","Action":"build-output","Output":"# m/a\n"}` + "\n"
	)
	tests := map[string]struct {
		events string
		stdout string
		want   string // in the error; empty for none
	}{
		"passed":                    {events: pass},
		"package without tests":     {events: empty + pass},
		"output that looks like it": {events: talk + pass},
		"one skipped": {
			events: pass + skip + pass,
			stdout: "skipped: m/a TestB/deep\n",
			want:   "1 skipped",
		},
		"all skipped":     {events: skip + skip, stdout: strings.Repeat("skipped: m/a TestB/deep\n", 2), want: "2 skipped"},
		"nothing":         {want: "no test passed"},
		"no tests at all": {events: empty + compile, want: "no test passed"},
		"only failures":   {events: failed, want: "no test passed"},
		"no event":        {events: pass + "go: downloading\n", want: "line 2: invalid character"},
		"cut":             {events: pass + strings.TrimSuffix(skip, "\n"), want: "line 2: EOF"},
		"long line":       {events: strings.Replace(pass, "TestA", strings.Repeat("x", 1<<20), 1) + skip, stdout: "skipped: m/a TestB/deep\n", want: "1 skipped"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "events.json")
			if err := os.WriteFile(file, []byte(tt.events), 0o600); err != nil {
				t.Fatal(err)
			}
			var stdout strings.Builder
			err := run([]string{file}, &stdout)
			if got := stdout.String(); got != tt.stdout {
				t.Errorf("got output %q, want %q", got, tt.stdout)
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestRunUse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"a", "b"}, {filepath.Join(t.TempDir(), "absent")}} {
		if err := run(args, &strings.Builder{}); err == nil {
			t.Errorf("run(%q): got no error, want one", args)
		}
	}
}
