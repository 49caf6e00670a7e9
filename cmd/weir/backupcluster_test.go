//go:build cluster

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

// TestH19WeirRestoreOnOneServer is TestH19WeirRestore with a broker that is no cluster.
func TestH19WeirRestoreOnOneServer(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	putsBack(t, &restored{killed: k, backup: k.yaml, beside: "weir serve runs: process", reach: func(*testing.T) *broker.Broker { return b }})
}

// TestH19WeirRestoreOnTheEmbeddedStore is TestH19WeirRestore with the store that is
// there, and the mark beside it.
func TestH19WeirRestoreOnTheEmbeddedStore(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	k := newKilled(t, fmt.Sprintf("embedded: {dir: %q}\n", store), "", simulator.Faults{})
	putsBack(t, &restored{killed: k, backup: k.yaml, beside: "another weir uses it", reach: func(t *testing.T) *broker.Broker { return k.connect(t, store) }})
}

// TestH19WeirRestoreOnACluster is TestH19WeirRestore on the cluster of deploy/nats,
// where backups have a user of their own, and no server refuses it anything. With
// "make cluster-test".
func TestH19WeirRestoreOnACluster(t *testing.T) {
	t.Parallel()
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
	putsBack(t, &restored{killed: k, backup: own, beside: "weir serve runs: process", reach: c.weir})
	for _, line := range c.refusals() {
		t.Errorf("a server refused something: %s", line)
	}
}
