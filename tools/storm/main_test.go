package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// storm runs the command over the worlds of testdata.
func storm(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err = run(t.Context(), append(append([]string{"-dir", folder}, args...), "./testdata/worlds"), &stdout, &stderr)
	return stdout.String() + stderr.String(), err
}

// folder is one for all tests: what is compiled once is found again.
var folder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weir-storm-")
	if err != nil {
		panic(err)
	}
	folder = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// The tests share a folder, so they run one after the other.
func TestStorm(t *testing.T) {
	tests := map[string]struct {
		args []string
		want []string // in what is printed, and in the error
		fail string   // in the error; empty for none
		none string   // not in what is printed
	}{
		"a run": {
			args: []string{"-run", "^TestStorm(Order|Dull)$", "-seeds", "3"},
			want: []string{"StormDull", "StormOrder", "6 worlds", "9  acts", "3  hail"},
		},
		"a seed fails": {
			args: []string{"-run", "^TestStormFails$", "-from", "1", "-seeds", "3"},
			want: []string{"TestStormFails, seed 2", "the history of seed 2", "make storm KIND='^TestStormFails$$' FROM=2 SEEDS=1"},
			fail: "1 of 3 worlds failed",
			none: "FROM=1 ",
		},
		"few of the histories": {
			args: []string{"-run", "^TestStormFails$", "-seeds", "15", "-jobs", "1"},
			want: []string{"the history of seed 8", "FROM=11 ", "FROM=14 "},
			fail: "5 of 15 worlds failed",
			none: "the history of seed 11",
		},
		"a fault that no world met": {
			args: []string{"-run", "^TestStormDull$", "-seeds", "200"},
			fail: "no world met: rain",
		},
		"a replay meets few": {
			args: []string{"-run", "^TestStormDull$", "-seeds", "2"},
		},
		"nothing of the machine": {
			args: []string{"-run", "^TestStormCloses$", "-seeds", "1"},
		},
		"a world that hangs": {
			args: []string{"-run", "^TestStormHangs$", "-seeds", "1", "-patient", "300ms"},
			want: []string{"it hangs"},
			fail: "1 of 1 worlds failed",
		},
		"no tally": {
			args: []string{"-run", "^TestStormSilent$", "-seeds", "1"},
			want: []string{"it left no tally"},
			fail: "1 of 1 worlds failed",
		},
		"no such storm":        {args: []string{"-run", "^TestNone$"}, fail: "no test matches"},
		"replay":               {args: []string{"-run", "^TestStormOrder$", "-seeds", "1", "-verify", "4"}, want: []string{"4 worlds played twice"}},
		"nothing to differ in": {args: []string{"-run", "^TestStormDull$", "-seeds", "1", "-verify", "2"}, fail: "equal histories prove nothing"},
		"wrong use":            {args: []string{"-jobs", "0"}, fail: "usage"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := storm(t, tt.args...)
			switch {
			case tt.fail == "" && err != nil, tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)):
				t.Errorf("got error %v, want %q; output:\n%s", err, tt.fail, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("got output\n%s\nwant %q in it", out, want)
				}
			}
			if tt.none != "" && strings.Contains(out, tt.none) {
				t.Errorf("got output\n%s\nwant no %q in it", out, tt.none)
			}
		})
	}
}

// A seed plays the same world whether it is alone or among others, and the
// comparison of verify sees a difference.
func TestDifferencesAreSeen(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	g, err := build(ctx, options{pkg: "./testdata/worlds", dir: folder, patient: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	world := func(seed, salt uint64) string {
		out, err := g.world(ctx, "TestStormOrder", seed, salt, true)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	a, b, other, salted := world(5, 0), world(5, 0), world(6, 0), world(5, 1)
	if a != b {
		t.Errorf("two runs of a seed differ:\n%s\n%s", a, b)
	}
	if a == other || a == salted {
		t.Errorf("another seed or another salt changes nothing:\n%s\n%s\n%s", a, other, salted)
	}
	if d := difference([]byte("a\nb\nc"), []byte("a\nx\nc")); !strings.Contains(d, "line 2") {
		t.Errorf("got %q, want the second line", d)
	}
}
