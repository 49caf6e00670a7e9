package broker_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/weirhq/weir/internal/broker"
)

// TestRightsAreThoseOfTheFile holds deploy/nats/accounts.conf against what is needed:
// no right less, and none more.
func TestRightsAreThoseOfTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, err := os.ReadFile("../../deploy/nats/accounts.conf")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "accounts.conf"), text, 0o600)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "secrets"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	var users strings.Builder
	for _, user := range []string{"weir", "operator", "backup", "monitor", "acme_crm", "globex_crm"} {
		users.WriteString(user + "_password: \"x\"\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets", "users.conf"), []byte(users.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(filepath.Join(dir, "accounts.conf"))
	if err != nil {
		t.Fatal(err)
	}
	wants := map[string]broker.Rights{"weir": broker.ServeRights(), "operator": broker.OperatorRights(), "backup": broker.BackupRights()}
	for _, u := range opts.Users {
		want, ok := wants[u.Username]
		if !ok {
			continue
		}
		delete(wants, u.Username)
		for what, lists := range map[string][2][]string{
			"publish":   {want.Publish, u.Permissions.Publish.Allow},
			"subscribe": {want.Subscribe, u.Permissions.Subscribe.Allow},
		} {
			slices.Sort(lists[0])
			slices.Sort(lists[1])
			if diff := cmp.Diff(lists[0], lists[1]); diff != "" {
				t.Errorf("user %s, %s (-needed +given):\n%s", u.Username, what, diff)
			}
		}
	}
	if len(wants) > 0 {
		t.Errorf("the file has no users %v", wants)
	}
}
