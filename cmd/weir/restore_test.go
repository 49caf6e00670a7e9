package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

// TestH19ABackupIsPutBack puts an older copy of the store back while the
// provider's calls go on, and publishes the lost time again: nobody is called
// twice, and what was lost is in doubt. With the mark beside the store the gate
// holds the lanes by itself; where it was put back as well, --hold does.
func TestH19ABackupIsPutBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		part string   // of the folder that is put back
		args []string // of weir serve after it
		why  string
	}{
		"the store alone":  {"jetstream", nil, "went back"},
		"the whole folder": {"", []string{"--hold", "a backup was put back"}, "a backup was put back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := filepath.Join(t.TempDir(), "store")
			k := newKilled(t, fmt.Sprintf("embedded: {dir: %q}\n", store), "", simulator.Faults{})
			serve := func(args ...string) (stop func(syscall.Signal)) {
				cmd := child(t, k.env, append([]string{"serve", "-c", k.yaml}, args...)...)
				return func(s syscall.Signal) {
					_ = cmd.Process.Signal(s)
					_ = cmd.Wait()
				}
			}
			work := func(n int) {
				b := k.connect(t, store)
				k.awaitStreams(t, b)
				k.publish(t, b, n)
				k.settle(t, b)
				_ = b.Close(t.Context())
			}
			stop := serve()
			work(8)
			stop(syscall.SIGTERM)
			backup := filepath.Join(t.TempDir(), "backup")
			if err := os.CopyFS(backup, os.DirFS(store)); err != nil {
				t.Fatal(err)
			}
			stop = serve()
			work(8)
			stop(syscall.SIGKILL)
			born := time.Now()
			if err := os.RemoveAll(filepath.Join(store, tc.part)); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(store, tc.part), os.DirFS(filepath.Join(backup, tc.part))); err != nil {
				t.Fatal(err)
			}

			serve(tc.args...)
			b := k.connect(t, store)
			k.awaitStreams(t, b)
			publishOnceMore(t, b, k.keys, fmt.Sprintf(`"time":%q,`, born.UTC().Format(time.RFC3339Nano)))
			var stdout string
			await(t, patience, "weir serve to hold its lane", func() (up bool) {
				var err error
				stdout, _, err = weir(t.Context(), k.env, "lanes", "-c", k.yaml)
				return err == nil && !strings.Contains(stdout, notRunning)
			})
			contains(t, stdout, "held")
			if tc.part == "" {
				contains(t, stdout, tc.why)
			}
			release := []string{"release", "--all", "--by", "ana", "--reason", "backup of noon", "-c", k.yaml}
			stdout, _, err := weir(t.Context(), k.env, append(release, "--dry-run")...)
			if err != nil || !strings.Contains(stdout, "it has been held since") {
				t.Errorf("release --dry-run: got %v and %q", err, stdout)
			}
			if _, _, err := weir(t.Context(), k.env, release...); err == nil {
				t.Error("release without --yes: got no error")
			}
			stdout, stderr, err := weir(t.Context(), k.env, append(release, "--yes")...)
			if err != nil {
				t.Fatalf("release: %v\n%s%s", err, stdout, stderr)
			}
			contains(t, stdout, "weir serve has seen it")
			k.checkLost(t, b)
		})
	}
}

// checkLost sends four more leads and checks the books of a state of which the leads
// from the eighth to the fifteenth were lost and came again: those are in doubt.
func (k *killed) checkLost(t *testing.T, b *broker.Broker) {
	t.Helper()
	k.publish(t, b, 4)
	k.settle(t, b)
	k.honest = false // what was lost is in doubt
	k.check(t, b, nil)
	states := k.states(t, b)
	for i, key := range k.keys {
		want := consumer.Ended
		if i >= 8 && i < 16 {
			want = consumer.Doubt
		}
		if states[key].State != want {
			t.Errorf("lead %d is %s, want %s", i, states[key].State, want)
		}
	}
}

// A release is there after a restart, and a hold by hand too.
func TestH19AReleaseOutlastsAProcess(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	serve := func(args ...string) (stop func()) {
		cmd := child(t, k.env, append([]string{"serve", "-c", k.yaml}, args...)...)
		k.awaitStreams(t, b)
		await(t, patience, "weir serve to run its lane", func() bool {
			stdout, _, err := weir(t.Context(), k.env, "lanes", "-c", k.yaml)
			return err == nil && !strings.Contains(stdout, notRunning)
		})
		return func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	lanes := func() string {
		stdout, _, err := weir(t.Context(), k.env, "lanes", "-c", k.yaml)
		if err != nil {
			t.Fatal(err)
		}
		return stdout
	}
	serve("--hold", "tried")()
	stop := serve()
	await(t, patience, "the lane to say that it is held", func() bool { return holdsAll(lanes(), []string{"held", "tried"}) })
	stop()
	contains(t, lanes(), "not running", "tried")
	stdout, _, err := weir(t.Context(), k.env, "release", "--lane", "acme", "--not-called-since", "1h", "--by", "ana", "--reason", "looked", "--yes", "-c", k.yaml)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, stdout, "it holds when weir serve starts")
	stop = serve()
	defer stop()
	if strings.Contains(lanes(), "held") {
		t.Errorf("after the release: got\n%s", lanes())
	}
	k.publish(t, b, 3) // born after the boundary
	publishBorn := fmt.Sprintf(`"time":%q,`, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
	old := k.keys[len(k.keys)-1]
	k.settle(t, b)
	body := fmt.Sprintf(`{"specversion":"1.0","id":"of-before","source":"/crm","type":"lead.created",%s"datacontenttype":"application/json","data":{"phone":"+14155559999"}}`, publishBorn)
	if _, err := b.PublishEvent(t.Context(), "acme", map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(body), ""); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the event of before to come into doubt", func() bool {
		return k.states(t, b)[consumer.Key("acme", "/crm", "of-before")].State == consumer.Doubt
	})
	if got := k.states(t, b)[old].State; got != consumer.Ended {
		t.Errorf("an event of after the boundary: got %s, want ended", got)
	}
}
