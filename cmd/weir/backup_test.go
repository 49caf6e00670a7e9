package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// restored is one place where a backup is made and put back.
type restored struct {
	*killed
	backup string // the configuration of who makes backups
	store  string // of the embedded broker; it is lost, with the mark beside it
	dir    string // of the backup
	beside string // what is said beside a weir serve
	reach  func(t *testing.T) *broker.Broker
}

// command runs a command of who makes backups.
func (r *restored) command(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := weir(t.Context(), r.env, append(args, "-c", r.backup)...)
	if err != nil {
		t.Fatalf("weir %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// deny runs a command that must fail.
func (r *restored) deny(t *testing.T, want string, args ...string) {
	t.Helper()
	if stdout, _, err := weir(t.Context(), r.env, append(args, "-c", r.backup)...); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("weir %s: got %v, want %q\n%s", strings.Join(args, " "), err, want, stdout)
	}
}

// guide returns a command of docs/restore.md, the one that begins so, with the folder
// of this backup.
func (r *restored) guide(t *testing.T, begins string) (args []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/restore.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), begins)
		if !ok {
			continue
		}
		for i, part := range strings.Split(strings.TrimPrefix(begins, "weir ")+rest, `"`) {
			if i%2 == 1 { // within quotes
				args = append(args, part)
				continue
			}
			args = append(args, strings.Fields(strings.ReplaceAll(part, "/var/backups/weir/2026-11-21", r.dir))...)
		}
		return args
	}
	t.Fatalf("docs/restore.md has no command that begins with %q", begins)
	return nil
}

// TestH19WeirRestore makes a backup while weir runs, lets the provider's calls go on,
// loses the disk, with the mark beside the store, puts the backup back, and publishes
// everything once more: nobody is called twice, and what came after the backup is in
// doubt. With brokers of one's own, where the mark outlives it, by "make cluster-test".
func TestH19WeirRestore(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	k := newKilled(t, fmt.Sprintf("embedded: {dir: %q}\n", store), "", simulator.Faults{})
	putsBack(t, &restored{killed: k, backup: k.yaml, store: store, beside: "another weir uses it", reach: func(t *testing.T) *broker.Broker { return k.connect(t, store) }})
}

// putsBack is the whole of it.
func putsBack(t *testing.T, r *restored) {
	t.Helper()
	r.dir = filepath.Join(t.TempDir(), "backup")
	serve := func() (stop func(syscall.Signal)) {
		cmd := child(t, r.env, "serve", "-c", r.yaml)
		return func(s syscall.Signal) {
			_ = cmd.Process.Signal(s)
			_ = cmd.Wait()
		}
	}
	stop := serve()
	b := r.reach(t)
	r.awaitStreams(t, b)
	r.publish(t, b, 8)
	r.settle(t, b)
	contains(t, r.command(t, r.guide(t, "weir backup /")...), ledger.Stream, "Try it now and then: weir restore")
	r.deny(t, "is not empty", "backup", r.dir)
	r.publish(t, b, 8)
	r.settle(t, b)
	put := r.guide(t, "weir restore /var/backups/weir/2026-11-21 --by")
	r.deny(t, r.beside, append(put, "--yes", "--replace")...)
	contains(t, r.command(t, "restore", r.dir, "--dry-run"), "Now it would be refused: restore: weir serve runs")
	if r.store != "" {
		_ = b.Close(t.Context())
	}
	stop(syscall.SIGTERM)

	if r.store != "" {
		if err := os.RemoveAll(r.store); err != nil {
			t.Fatal(err)
		}
	} else {
		r.deny(t, "Give --replace if that is meant", append(put, "--yes")...)
		contains(t, r.command(t, r.guide(t, "weir restore /var/backups/weir/2026-11-21 --dry-run")...), "put back in the place of the one that is there", "its mark and its pauses are newer", "who asked not to be called since")
		put = append(put, "--replace")
	}
	born := time.Now()
	contains(t, r.command(t, append(put, "--yes")...), "Every lane is held.")

	serve()
	b = r.reach(t)
	r.awaitStreams(t, b)
	publishOnceMore(t, b, r.keys, fmt.Sprintf(`"time":%q,`, born.UTC().Format(time.RFC3339Nano)))
	release := append(r.guide(t, "weir release --all --by"), "-c", r.yaml)
	await(t, patience, "weir serve to hold its lane", func() bool {
		stdout, _, err := weir(t.Context(), r.env, "lanes", "-c", r.yaml)
		return err == nil && !strings.Contains(stdout, notRunning) && strings.Contains(stdout, "was put back by ana: the disk died")
	})
	if stdout, stderr, err := weir(t.Context(), r.env, release...); err != nil {
		t.Fatalf("release: %v\n%s%s", err, stdout, stderr)
	}
	r.checkLost(t, b)
}
