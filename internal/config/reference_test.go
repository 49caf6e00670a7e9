package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
)

var row = regexp.MustCompile("^\\| `([a-z_]+)` \\|")

// The reference page has each key in the section of its block, and no other.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(page)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(heading)
		}
		if m := row.FindStringSubmatch(line); m != nil {
			got[section] = append(got[section], m[1])
		}
	}
	const kept = "`events`, `dead`, `outcomes`: what is kept"
	headings := map[string]string{
		"file": "The file", "brokerBlock": "`broker`", "Broker": "`broker`", "TLS": "`broker.tls`", "System": "`broker.system`",
		"Embedded": "`embedded`", "Gateway": "`gateway`", "Publisher": "`gateway.publishers`", "Certificate": "`gateway.tls`, `console.tls`", "Console": "`console`", "Webhook": "`webhook`", "CRM": "`crm`", "HMAC": "`crm.hmac`", "Outcomes": "`outcomes`", "Admin": "`admin`", "Ledger": "`ledger`", "Traces": "`traces`", "Header": "`traces.headers`", "Events": kept, "Dead": kept, "ToldOutcomes": kept, "Blocks": "`do_not_contact`", "Account": "`accounts`", "Settings": "An account's settings",
		"Auth": "`auth`", "Pacing": "`pacing`", "Headers": "`headers`", "Breaker": "`breaker`",
		"laneBlock": "`lanes`", "Lane": "`lanes`", "Schema": "`schemas`", "routeBlock": "`routes`",
		"Contact": "`contact`", "Cap": "`contact.caps`", "Redial": "`contact.redial`", "Window": "`contact.windows`", "Holidays": "`contact.holidays`", "Numbers": "`contact.numbers`",
	}
	want := map[string][]string{}
	for block, keys := range config.Keys() {
		heading, ok := headings[block]
		if !ok {
			t.Errorf("block %s: got no section, want one", block)
		}
		want[heading] = append(want[heading], keys...)
	}
	for _, sections := range []map[string][]string{want, got} {
		for _, keys := range sections {
			slices.Sort(keys)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys in docs/configuration.md (-want +got):\n%s", diff)
	}
}
