package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/backup"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

// shelved is a place with an embedded store, where nobody is called.
type shelved struct {
	yaml, store, dir string // dir: of the backup
}

// newShelved makes a backup of a store whose lane is acme, with somebody who must not
// be contacted, and loses the store.
func newShelved(t *testing.T) shelved {
	t.Helper()
	home := t.TempDir()
	h := shelved{filepath.Join(home, "weir.yaml"), filepath.Join(home, "store"), filepath.Join(home, "backup")}
	h.configure(t, "acme")
	h.serve(t, func(s *service) { h.block(t, s, "a", "b") })
	if err := h.weir(t, "backup", h.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(h.store); err != nil {
		t.Fatal(err)
	}
	return h
}

// configure says which lanes there are.
func (h shelved) configure(t *testing.T, lanes ...string) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "embedded: {dir: %q}\nlanes:\n", h.store)
	for _, lane := range lanes {
		fmt.Fprintf(&text, `  - name: %s
    provider: oration
    url: http://127.0.0.1:9/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: %[1]s}}
    limit: 5
    routes:
      - type: lead.created
        request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: "${ data.phone }"}
`, lane)
	}
	if err := os.WriteFile(h.yaml, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve brings everything up but the lanes, for as long as work takes.
func (h shelved) serve(t *testing.T, work func(*service)) {
	t.Helper()
	cfg, err := config.Load(h.yaml, func(name string) string { return "k-" + name })
	if err != nil {
		t.Fatal(err)
	}
	s, err := startService(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	work(s)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// block writes keys of who must not be contacted.
func (h shelved) block(t *testing.T, s *service, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if _, err := s.broker.JetStream().Publish(t.Context(), "$KV.WEIR_CONTACT."+key, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
}

func (h shelved) weir(t *testing.T, args ...string) error {
	t.Helper()
	_, _, err := weir(t.Context(), nil, append(args, "-c", h.yaml)...)
	return err
}

// restore are the arguments that put the backup back.
func (h shelved) restore(more ...string) []string {
	return append([]string{"restore", h.dir, "--by", "ana", "--reason", "the disk died", "--yes"}, more...)
}

// A lane that is in neither the backup nor the configuration of who puts it back ran
// after the backup, perhaps: it is held too, and what a release of all says is true of
// one that begins later.
func TestH19ALaneThatTheBackupDoesNotKnowIsHeld(t *testing.T) {
	t.Parallel()
	h := newShelved(t)
	if err := h.weir(t, h.restore()...); err != nil {
		t.Fatal(err)
	}
	gates := func(lanes ...string) (all map[string]broker.Gate) {
		h.configure(t, lanes...)
		h.serve(t, func(s *service) {
			var err error
			if all, err = s.broker.Gates(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		return all
	}
	all := gates("acme", "newer")
	if len(all) != 2 {
		t.Errorf("got the gates of %d lanes, want two", len(all))
	}
	for _, lane := range []string{"acme", "newer"} {
		if g := all[lane]; !g.Held || !strings.Contains(g.Why, "was put back by ana: the disk died") {
			t.Errorf("lane %s: got %+v, want it held", lane, g)
		}
	}
	before := time.Now().UTC()
	h.serve(t, func(s *service) {
		if err := s.broker.ReleaseOthers(t.Context(), before, "ana", "all was sent again"); err != nil {
			t.Fatal(err)
		}
	})
	all = gates("acme", "newer", "newest")
	if g := all["newest"]; g.Held || !g.Before.Equal(before) {
		t.Errorf("a lane of after the release: got %+v, want it released, with its boundary", g)
	}
	if !all["newer"].Held {
		t.Error("a lane that had begun was released with those that had not")
	}
}

// Where Weir ran on an empty store before the backup was put back, the newer list of
// who must not be contacted is no continuation of the older one: a person decides.
func TestANewerListOfContactsIsNotTakenForTheOlderOne(t *testing.T) {
	t.Parallel()
	h := newShelved(t)
	h.serve(t, func(s *service) { h.block(t, s, "c", "d", "e") })
	err := h.weir(t, h.restore("--replace")...)
	if err == nil || !strings.Contains(err.Error(), "nothing was done; stream KV_WEIR_CONTACT") || !strings.Contains(err.Error(), "--keep-contact") {
		t.Fatalf("got %v, want that a person decides", err)
	}
	if err := h.weir(t, h.restore("--replace", "--contact")...); err != nil {
		t.Fatal(err)
	}
	h.serve(t, func(s *service) {
		for key, want := range map[string]bool{"a": true, "b": true, "c": false} {
			st, err := s.broker.JetStream().Stream(t.Context(), broker.StreamContact)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.GetLastMsgForSubject(t.Context(), "$KV.WEIR_CONTACT."+key); (err == nil) != want {
				t.Errorf("%s: got %v, want it there: %v", key, err, want)
			}
		}
	})
	if err := h.weir(t, h.restore("--replace", "--keep-contact")...); err != nil {
		t.Error(err)
	}
}

// A dry run, and a backup of what is not there, leave nothing behind.
func TestADryRestoreAndAVainBackupLeaveNothing(t *testing.T) {
	t.Parallel()
	h := newShelved(t)
	if err := h.weir(t, "restore", h.dir, "--dry-run"); err != nil {
		t.Error(err)
	}
	if err := h.weir(t, "backup", filepath.Join(t.TempDir(), "second")); err == nil || !strings.Contains(err.Error(), "-c") {
		t.Errorf("got %v, want what to do", err)
	}
	if _, err := os.Stat(h.store); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the store: got %v, want none", err)
	}
}

// What fails before every lane is held does not say that they are.
func TestARestoreThatFailsBeforeItHoldsSaysSo(t *testing.T) {
	t.Parallel()
	h := newShelved(t)
	path := filepath.Join(h.dir, "manifest.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := backup.Open(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := a.Piece(broker.StreamLanes)
	junk := []byte(strings.Repeat("junk", int(p.Bytes/4)+1))[:p.Bytes]
	if err := os.WriteFile(filepath.Join(h.dir, p.Stream+".snapshot"), junk, 0o600); err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), p.SHA256, fmt.Sprintf("%x", sha256.Sum256(junk)), 1))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.weir(t, h.restore()...); err == nil || !strings.Contains(err.Error(), "not every lane is held yet") {
		t.Errorf("got %v, want that the lanes are not held", err)
	}
}

// A manifest that was altered puts back, and deletes, no stream of somebody else's.
func TestOnlyStreamsOfWeirsArePutBack(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"ORDERS", broker.StreamEvents} {
		h := newShelved(t)
		path := filepath.Join(h.dir, "manifest.json")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.Replace(string(text), `"stream": "WEIR_LATER"`, fmt.Sprintf(`"stream": %q`, other), 1))
		a, err := backup.Open(h.dir)
		if err != nil {
			t.Fatal(err)
		}
		later, _ := a.Piece(broker.StreamLater)
		events, _ := a.Piece(broker.StreamEvents)
		if other == broker.StreamEvents { // both entries are of one file
			text = []byte(strings.NewReplacer(events.SHA256, later.SHA256, fmt.Sprintf(`"bytes": %d`, events.Bytes), fmt.Sprintf(`"bytes": %d`, later.Bytes)).Replace(string(text)))
		}
		if err := os.Rename(filepath.Join(h.dir, "WEIR_LATER.snapshot"), filepath.Join(h.dir, other+".snapshot")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.weir(t, h.restore("--replace")...); err == nil || !strings.Contains(err.Error(), "none of Weir's, or twice") {
			t.Errorf("%s: got %v, want it refused", other, err)
		}
	}
}

// The ledger knows at least what the others tell of, and the contacts at least what
// the ledger does.
func TestTheOrderOfABackup(t *testing.T) {
	t.Parallel()
	if n := len(keptStreams); keptStreams[0] != broker.StreamLanes || keptStreams[n-2] != ledger.Stream || keptStreams[n-1] != broker.StreamContact {
		t.Errorf("got %v", keptStreams)
	}
}
