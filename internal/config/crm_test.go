package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

const crmGateway = "gateway: {listen: '127.0.0.1:8090', public_url: 'https://hooks.example.com/weir/'}\n"

// withCRM is the small file whose lane hears a CRM.
func withCRM(t *testing.T, block string) string {
	t.Helper()
	return crmGateway + edit(t, small, "limit: 20", "crm: "+block)
}

func TestCRM(t *testing.T) {
	t.Parallel()
	const secret = schema.Secret("0123456789abcdef")
	const fields = "map: {id: '${ data.ref }', source: /forms, type: lead.created, data: {phone: '${ data.tel }'}}"
	hmac := func(h config.HMAC) *config.HMAC {
		h.Secret, h.Header = secret, "X-Signature"
		return &h
	}
	for block, want := range map[string]config.CRM{
		"{kind: hubspot, secret: {env: HOOK}, app_secret: {env: HOOK}}":                {Kind: config.HubSpot, Secret: secret, AppSecret: secret, Header: "X-Api-Key"},
		"{kind: pipedrive, secret: {env: HOOK}, user: weir, password: {env: HOOK}}":    {Kind: config.Pipedrive, Secret: secret, User: "weir", Password: secret, Header: "X-Api-Key"},
		"{kind: salesforce, secret: {env: HOOK}, api_key: {env: HOOK}, header: X-Key}": {Kind: config.Salesforce, Secret: secret, APIKey: secret, Header: "X-Key"},
		"{kind: salesforce, secret: {env: HOOK}, hmac: {secret: {env: HOOK}, header: X-Signature}}": {Kind: config.Salesforce, Secret: secret, Header: "X-Api-Key",
			HMAC: hmac(config.HMAC{Algorithm: "sha256", Encoding: "hex", Tolerance: 5 * time.Minute, Signed: "{body}"})},
		"{kind: generic, secret: {env: HOOK}, hmac: {secret: {env: HOOK}, header: X-Signature, algorithm: sha512, encoding: base64, prefix: v0=, timestamp: X-Time, tolerance: 1m}, " + fields + "}": {
			Kind: config.Generic, Secret: secret, Header: "X-Api-Key",
			HMAC: hmac(config.HMAC{Algorithm: "sha512", Encoding: "base64", Prefix: "v0=", Timestamp: "X-Time", Tolerance: time.Minute, Signed: "{timestamp}.{body}"})},
	} {
		cfg, err := config.Parse("weir.yaml", []byte(withCRM(t, block)), hookEnv)
		if err != nil {
			t.Errorf("%s: %v", block, err)
			continue
		}
		got := cfg.Accounts[0].Lanes[0].CRM
		if diff := cmp.Diff(&want, got, cmpopts.IgnoreFields(config.CRM{}, "Map", "Mapping")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", block, diff)
		}
		if cfg.Gateway.PublicURL != "https://hooks.example.com/weir" || (got.Mapping != nil) != (got.Kind == config.Generic) {
			t.Errorf("%s: got %q and the map %v", block, cfg.Gateway.PublicURL, got.Mapping)
		}
	}
}

func TestCRMProblems(t *testing.T) {
	t.Parallel()
	const path = "weir.yaml:7:5: lanes[0].crm"
	for block, want := range map[string][]string{
		"{}":                                {path + ".secret: is missing", path + ".kind: is missing"},
		"{kind: zoho, secret: {env: HOOK}}": {"crm.kind: must be hubspot or pipedrive or salesforce or generic"},
		"{kind: hubspot, secret: {env: SLASH}}": {
			"crm.secret: stands in an address", path + ".app_secret: is missing"},
		"{kind: hubspot, secret: {env: SHORT}, app_secret: {env: HOOK}, user: a, map: {}}": {
			"crm.secret: must have 16 to 128", "crm.user: has no meaning with kind: hubspot", "crm.map: "},
		"{kind: pipedrive, secret: {env: HOOK}, user: 'a:b', password: {env: SHORT}}": {"crm.user: must have no colon", "crm.password: must have 16 to 128"},
		"{kind: pipedrive, secret: {env: HOOK}, app_secret: {env: HOOK}}": {
			"crm.app_secret: has no meaning with kind: pipedrive", "crm.user: is missing", "crm.password: is missing"},
		"{kind: salesforce, secret: {env: HOOK}}": {path + ": must have either api_key or hmac"},
		"{kind: salesforce, secret: {env: HOOK}, api_key: {env: HOOK}, hmac: {secret: {env: HOOK}, header: X}}": {": must have either api_key or hmac"},
		"{kind: salesforce, secret: {env: HOOK}, api_key: {env: SHORT}, header: 'a b'}":                         {"crm.api_key: must have 16 to 128", "crm.header: must be the name of a header"},
		"{kind: salesforce, secret: {env: HOOK}, header: X, hmac: {tolerance: 1s}}": {
			"crm.header: has no meaning without api_key", "hmac.secret: is missing", "hmac.header: is missing", "hmac.tolerance: must be between 10s and 15m"},
		"{kind: salesforce, secret: {env: HOOK}, hmac: {secret: {env: SHORT}, header: 'a b', algorithm: md5, encoding: hax, tolerance: 1m}}": {
			"hmac.secret: must have 16", "hmac.header: must be the name", "hmac.algorithm: must be sha256 or sha512", "hmac.encoding: must be hex or base64; did you mean hex?", "hmac.tolerance: has no meaning without timestamp"},
		"{kind: salesforce, secret: {env: HOOK}, hmac: {secret: {env: HOOK}, header: X, signed: '{timestamp}'}}":           {"hmac.signed: must have {body} once"},
		"{kind: salesforce, secret: {env: HOOK}, hmac: {secret: {env: HOOK}, header: X, timestamp: Y, signed: 'x{body}'}}": {"hmac.signed: must have {timestamp} once"},
		"{kind: salesforce, secret: {env: HOOK}, hmac: {secret: {env: HOOK}, header: X, signed: '{timestamp}{body}'}}":     {"hmac.signed: must have {timestamp} once"},
		"{kind: salesforce, secret: {env: HOOK}, hmac: {secret: {env: HOOK}, header: X, timestamp: 'a b'}}":                {"hmac.timestamp: must be the name of a header"},
		"{kind: generic, secret: {env: HOOK}, api_key: {env: HOOK}}":                                                       {path + ".map: is missing"},
		"{kind: generic, secret: {env: HOOK}, api_key: {env: HOOK}, map: {id: a, subject: b, type: '${ data. }'}}": {
			"crm.map.data: is missing", "crm.map.source: is missing", "crm.map.id: must have an ${ expression }", "crm.map.subject: is none of data, id, source, type", "crm.map.type: "},
	} {
		_, err := config.Parse("weir.yaml", []byte(withCRM(t, block)), hookEnv)
		if err == nil {
			t.Errorf("%s: got no error", block)
			continue
		}
		if got := strings.Count(err.Error(), "\n") + 1; got != len(want) {
			t.Errorf("%s: got %d problems, want %d:\n%v", block, got, len(want), err)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got\n%v\nwant %s", block, err, w)
			}
		}
	}
	hub := "crm: {kind: hubspot, secret: {env: HOOK}, app_secret: {env: HOOK}}"
	for text, want := range map[string]string{
		edit(t, small, "limit: 20", hub):                                                                                  "lanes[0].crm: needs gateway: {listen",
		"gateway: {listen: '127.0.0.1:8090'}\n" + edit(t, small, "limit: 20", hub):                                        "lanes[0].crm: needs gateway: {public_url",
		"gateway: {listen: '127.0.0.1:8090', public_url: 'http://hooks.example.com'}\n" + small:                           "gateway.public_url: must begin with https://",
		"gateway: {listen: '127.0.0.1:8090', public_url: 'https://a:b@hooks.example.com'}\n" + small:                      "gateway.public_url: must be an address such as",
		edit(t, withCRM(t, "{kind: hubspot, secret: {env: HOOK}, app_secret: {env: HOOK}}"), "lead.created", "lead.lost"): "lanes[0].crm: makes events of type lead.created and lead.updated, and no route is for one of them",
		edit(t, houses, "  - name: reach\n", "    crm: {kind: hubspot}\n  - name: reach\n"):                               "accounts[0].crm: belongs into a lane's block",
		edit(t, small, "limit: 20", "crm: {kind: hubspot, secret: 0123456789abcdef, 0123456789abcdef: x}"):                "lanes[0].crm: unknown key",
	} {
		if _, err := config.Parse("weir.yaml", []byte(text), hookEnv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant %s", err, want)
		}
	}
}

// A command that only talks to the broker needs none of a CRM's secrets.
func TestLoadBrokerWantsNoSecretOfACRM(t *testing.T) {
	t.Parallel()
	for _, block := range []string{
		"{kind: hubspot, secret: {env: UNSET}, app_secret: {env: UNSET}}",
		"{kind: pipedrive, secret: {env: UNSET}, user: a, password: {env: UNSET}}",
		"{kind: salesforce, secret: {env: UNSET}, hmac: {secret: {env: UNSET}, header: X}}",
	} {
		name := filepath.Join(t.TempDir(), "weir.yaml")
		write(t, name, withCRM(t, block))
		if _, err := config.LoadBroker(name, hookEnv); err != nil {
			t.Errorf("%s: got %v, want it to load", block, err)
		}
	}
}

// The page's examples are right.
func TestCRMPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/crm.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, part := range strings.Split(string(page), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		if strings.HasPrefix(block, "crm:") { // a lane's
			indented := strings.TrimSuffix(strings.ReplaceAll(block, "\n", "\n    "), "    ")
			block = crmGateway + edit(t, small, "limit: 20\n", indented)
		} else { // a file without the provider
			block = edit(t, block, "    crm:", "    provider: oration\n    url: https://voice.example/api/v2\n    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}\n    limit: 20\n    crm:")
		}
		if _, err := config.Parse("weir.yaml", []byte(block), hookEnv); err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
		n++
	}
	if n != 2 {
		t.Errorf("got %d examples, want 2", n)
	}
}
