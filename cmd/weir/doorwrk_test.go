//go:build soak

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestSoakDoor is TestDoorUnderKill9 with wrk as the publishers, which has to be
// installed.
func TestSoakDoor(t *testing.T) {
	dir := t.TempDir()
	doorUnderKill9(t, 20, 10*time.Second, func(ctx context.Context, address string) (accepted []string) {
		cmd := exec.CommandContext(ctx, "wrk", "-t", "2", "-c", "16", "-d", "1h", "-s", "testdata/leads.lua", address, "--", dir, doorToken)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		out, err := cmd.CombinedOutput()
		if ctx.Err() == nil {
			t.Errorf("wrk ended by itself: %v\n%s", err, out)
		}
		t.Logf("%s", out)
		files, err := filepath.Glob(filepath.Join(dir, "accepted.*"))
		if err != nil || len(files) == 0 {
			t.Errorf("what was accepted: %v, %v", files, err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Error(err)
			}
			for line := range bytes.Lines(b) {
				var a struct{ Intent string }
				if err := json.Unmarshal(line, &a); err != nil {
					t.Errorf("%s: %v", line, err)
				}
				accepted = append(accepted, a.Intent)
			}
		}
		return accepted
	})
}
