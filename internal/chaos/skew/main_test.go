package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSkew builds a program with the clock that can be turned, by the Go that
// runs this test, and turns it.
func TestSkew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, err := packageTime()
	if err != nil {
		t.Fatal(err)
	}
	if err := overlay(src, filepath.Join(dir, "overlay")); err != nil {
		t.Fatal(err)
	}
	source := "package main\n\nimport \"time\"\n\nfunc main() {\n" +
		"\tt := time.Now()\n\tprint(t.UnixNano(), \" \", time.Since(t) < time.Hour)\n}\n"
	write(t, filepath.Join(dir, "main.go"), []byte(source))
	program := filepath.Join(dir, "program")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay", "overlay.json"), "-o", program, filepath.Join(dir, "main.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, skew := range []time.Duration{0, 9 * time.Hour, -9 * time.Hour, -time.Nanosecond, 999_999_999, -999_999_999} {
		file := filepath.Join(dir, "skew")
		write(t, file, binary.NativeEndian.AppendUint64(nil, uint64(skew)))
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "WEIR_CHAOS_SKEW="+file)
		before := time.Now()
		out, err := cmd.CombinedOutput()
		after := time.Now()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text, sane, _ := strings.Cut(string(out), " ")
		said, err := time.ParseDuration(text + "ns")
		if err != nil || sane != "true" {
			t.Fatalf("skew %v: got %s, %v", skew, out, err)
		}
		got := time.Unix(0, int64(said)).Add(-skew)
		if got.Before(before.Round(0)) || got.After(after.Round(0)) {
			t.Errorf("skew %v: the program says %v, it was between %v and %v", skew, got, before, after)
		}
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherGoIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, source := range []string{"", "package time\n\nfunc Now() Time {\n\tsec, nsec, mono := now()\n", "x" + anchor + anchor} {
		write(t, filepath.Join(dir, "time.go"), []byte(source))
		out := filepath.Join(dir, "overlay")
		if err := overlay(dir, out); err == nil {
			t.Errorf("%q was taken for Go's own", source)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q: something was written", source)
		}
	}
}
