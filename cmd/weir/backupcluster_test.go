//go:build cluster

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/simulator"
)

// TestH19WeirRestoreOnACluster is TestH19WeirRestore on the cluster of deploy/nats,
// where backups have a user of their own, and no server refuses it anything. With
// "make cluster-test".
func TestH19WeirRestoreOnACluster(t *testing.T) {
	c := newSecured(t, nil)
	k := newKilled(t, c.yaml("weir", "_INBOX"), natsPassword, simulator.Faults{})
	text, err := os.ReadFile(k.yaml)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(k.dir, "backup.yaml")
	if err := os.WriteFile(own, []byte(strings.Replace(string(text), c.yaml("weir", "_INBOX"), c.yaml("backup", "_INBOX_backup"), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	putsBack(t, &restored{killed: k, backup: own, reach: c.weir})
	for _, line := range c.refusals() {
		t.Errorf("a server refused something: %s", line)
	}
}
