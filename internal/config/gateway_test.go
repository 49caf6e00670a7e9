package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// hookEnv has secrets of every length beside those of the other tests.
func hookEnv(name string) string {
	switch name {
	case "HOOK":
		return "0123456789abcdef"
	case "SHORT":
		return "0123456789abcde"
	case "LONG":
		return strings.Repeat("a", 129)
	case "SLASH":
		return "0123456789/abcdef"
	case "BLANK":
		return "0123456789 abcdef"
	case "THREE":
		return "0123456789abcdef\n0123456789abcdeg\n\n0123456789abcdeh"
	case "UNSET":
		return ""
	default:
		return "a-value-of-" + name
	}
}

func TestGatewayAndWebhook(t *testing.T) {
	t.Parallel()
	text := edit(t, edit(t, small, "limit: 20", "limit: 20\n    webhook: {secret: {env: HOOK}}"),
		"lanes:", "gateway: {listen: '0.0.0.0:8090', token: {env: GATEWAY_TOKEN}, behind_proxy: true}\nlanes:")
	cfg, err := config.Parse("weir.yaml", []byte(text), hookEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Gateway{Listen: "0.0.0.0:8090", Token: config.Token{Values: []schema.Secret{"a-value-of-GATEWAY_TOKEN"}}, BehindProxy: true}
	if diff := cmp.Diff(want, cfg.Gateway); diff != "" {
		t.Errorf("gateway (-want +got):\n%s", diff)
	}
	if got := cfg.Accounts[0].Lanes[0].Webhook.Secret.Reveal(); got != "0123456789abcdef" {
		t.Errorf("secret: got %q", got)
	}
}

// The administrator's listener has no token, so that others reach it is said.
func TestOpenAdmin(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:8092", ":8092", "weir.example:8092"} {
		text := edit(t, small, "lanes:", "admin: {listen: '"+listen+"', open: true}\nlanes:")
		cfg, err := config.Parse("weir.yaml", []byte(text), hookEnv)
		if err != nil {
			t.Fatalf("%s: %v", listen, err)
		}
		if want := (config.Admin{Listen: listen, Open: true}); cfg.Admin != want {
			t.Errorf("admin: got %+v, want %+v", cfg.Admin, want)
		}
	}
}

// publisher is a gateway with one publisher.
func publisher(more string) string {
	return "gateway: {listen: '127.0.0.1:8090', publishers: [{name: crm, token: {env: HOOK}, " + more + "}]}"
}

func TestPublishers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "crm.token"), "0123456789abcdef-old\r\n\n0123456789abcdef-new\n")
	text := "gateway: {listen: ':8090', behind_proxy: true, publishers: [{name: crm, token: {file: crm.token}, lanes: [acme]}, " +
		"{name: shop, token: {env: SHOPFRONT}, lanes: [acme], rate: 5, origins: [eventgrid.azure.net]}]}\n" + small
	write(t, filepath.Join(dir, "weir.yaml"), text)
	cfg, err := config.Load(filepath.Join(dir, "weir.yaml"), hookEnv)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "crm.token")
	want := []config.Publisher{
		{Name: "crm", Token: config.Token{Values: []schema.Secret{"0123456789abcdef-old", "0123456789abcdef-new"}, File: file}, Lanes: []string{"acme"}, Rate: config.DefaultRate},
		{Name: "shop", Token: config.Token{Values: []schema.Secret{"a-value-of-SHOPFRONT"}}, Lanes: []string{"acme"}, Rate: 5, Origins: []string{"eventgrid.azure.net"}},
	}
	if diff := cmp.Diff(want, cfg.Gateway.Publishers); diff != "" {
		t.Errorf("publishers (-want +got):\n%s", diff)
	}

	token := cfg.Gateway.Publishers[0].Token
	for text, want := range map[string]string{
		"0123456789abcdef-new\n": "", "": "is empty", "short\n": "16 to 128", "0123456789abcdef x": "a blank",
		"0123456789abcdef\n0123456789abcdef\n0123456789abcdef": "more than two lines",
	} {
		write(t, file, text)
		values, err := token.Read()
		if want == "" && (err != nil || len(values) != 1 || values[0] != "0123456789abcdef-new") {
			t.Errorf("%q: got %d tokens, %v; want the new one", text, len(values), err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "0123")) {
			t.Errorf("%q: got %v, want an error with %q and nothing of the file", text, err, want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Read(); err == nil {
		t.Error("a token whose file is gone: got no error")
	}
}

func TestGatewayProblems(t *testing.T) {
	t.Parallel()
	const hook = "webhook: {secret: {env: HOOK}}"
	const local = "gateway: {listen: '127.0.0.1:8090'}"
	for name, tc := range map[string]struct {
		gateway, webhook string
		want             string
	}{
		"no gateway":                 {"", hook, "weir.yaml:6:5: lanes[0].webhook: needs gateway: {listen: 127.0.0.1:8090}, or nobody hears it"},
		"no address":                 {"gateway: {behind_proxy: true}", hook, "weir.yaml:1:1: gateway.listen: is missing"},
		"no port":                    {"gateway: {listen: 127.0.0.1}", hook, "weir.yaml:1:11: gateway.listen: must be an address with a port, such as 127.0.0.1:8090"},
		"a bad port":                 {"gateway: {listen: '127.0.0.1:x'}", hook, "weir.yaml:1:11: gateway.listen: must be an address with a port, such as 127.0.0.1:8090"},
		"public, no token":           {"gateway: {listen: ':8090', behind_proxy: true}", hook, "weir.yaml:1:11: gateway.listen: can be reached by others: give a token or publishers too, or listen on 127.0.0.1"},
		"public, no TLS":             {"gateway: {listen: ':8090', token: {env: TOKEN}}", hook, "weir.yaml:1:11: gateway.listen: can be reached by others: give tls too, or behind_proxy: true if TLS ends at a proxy"},
		"a short token":              {"gateway: {listen: '127.0.0.1:8090', token: {env: SHORT}}", hook, "weir.yaml:1:37: gateway.token: must have 16 to 128 characters"},
		"a public publisher, no TLS": {"gateway: {listen: ':8090', publishers: [{name: crm, token: {env: HOOK}, lanes: [acme]}]}", hook, "weir.yaml:1:11: gateway.listen: can be reached by others: give tls too, or behind_proxy: true if TLS ends at a proxy"},
		"a blank in a token":         {"gateway: {listen: '127.0.0.1:8090', token: {env: BLANK}}", hook, "weir.yaml:1:37: gateway.token: the value found there has a blank, or what is no ASCII, in it"},
		"three tokens":               {"gateway: {listen: '127.0.0.1:8090', token: {env: THREE}}", hook, "weir.yaml:1:37: gateway.token: the value found there has more than two lines: one token a line, at most two"},
		"no publishers":              {"gateway: {listen: '127.0.0.1:8090', publishers: []}", hook, "weir.yaml:1:37: gateway.publishers: must have at least one publisher"},
		"an empty publisher": {"gateway: {listen: '127.0.0.1:8090', publishers: [{}]}", hook,
			"weir.yaml:1:50: gateway.publishers[0].name: is missing\nweir.yaml:1:50: gateway.publishers[0].token: is missing\nweir.yaml:1:50: gateway.publishers[0].lanes: must name at least one lane"},
		"a publisher of unknown lanes": {publisher("lanes: [acme, nosuch, acme]"), hook,
			"weir.yaml:1:96: gateway.publishers[0].lanes[1]: there is no lane of that name\nweir.yaml:1:104: gateway.publishers[0].lanes[2]: is there twice"},
		"a publisher's rate":    {publisher("lanes: [acme], rate: 0"), hook, "weir.yaml:1:97: gateway.publishers[0].rate: must be between 1 and 10000"},
		"a publisher's origins": {publisher("lanes: [acme], origins: ['*']"), hook, "weir.yaml:1:97: gateway.publishers[0].origins: must be at most 32 DNS names, such as eventemitter.example.com"},
		"a secret as a key":     {publisher("lanes: [acme], 0123456789abcdef: x"), hook, "weir.yaml:1:97: gateway.publishers[0]: unknown key"},
		"one token for two": {"gateway: {listen: '127.0.0.1:8090', token: {env: HOOK}, publishers: [{name: crm, token: {env: HOOK}, lanes: [acme]}]}", hook,
			"weir.yaml:1:82: gateway.publishers[0].token: is also the token of gateway: each needs its own"},
		"half a key pair": {"gateway: {listen: '127.0.0.1:8090', tls: {cert: none.pem}}", hook, "weir.yaml:1:37: gateway.tls.key: is missing: it goes together with gateway.tls.cert\nweir.yaml:1:43: gateway.tls.cert: the file that is named here does not exist"},
		"no block":        {"gateway: yes", hook, "weir.yaml:1:1: gateway: must be a block of keys"},
		"no secret":       {local, "webhook: {secret: {env: UNSET}}", "weir.yaml:7:15: lanes[0].webhook.secret: environment variable UNSET is not set"},
		"a literal":       {local, "webhook: {secret: 0123456789abcdef}", "weir.yaml:7:15: lanes[0].webhook.secret: must be {env: NAME} or {file: PATH}; a secret itself never stands in this file"},
		"too short":       {local, "webhook: {secret: {env: SHORT}}", "weir.yaml:7:15: lanes[0].webhook.secret: must have 16 to 128 characters"},
		"too long":        {local, "webhook: {secret: {env: LONG}}", "weir.yaml:7:15: lanes[0].webhook.secret: must have 16 to 128 characters"},
		"a slash in it":   {local, "webhook: {secret: {env: SLASH}}", "weir.yaml:7:15: lanes[0].webhook.secret: stands in an address: it may have letters, digits and - _ . ~ alone"},
		"an empty block":  {local, "webhook: {}", "weir.yaml:7:5: lanes[0].webhook.secret: is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := edit(t, small, "limit: 20", tc.webhook)
			if tc.gateway != "" {
				text = tc.gateway + "\n" + text
			}
			_, err := config.Parse("weir.yaml", []byte(text), hookEnv)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got\n%v\nwant\n%s", err, tc.want)
			}
		})
	}
}

// Anyreach has no webhooks, and an account's lanes have their own.
func TestWebhookOfOthers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"gateway: {listen: '127.0.0.1:8090'}\n" + edit(t, calls, "timeout: 15s", "webhook: {secret: {env: HOOK}}"): "weir.yaml:7:5: lanes[0].webhook: is not supported by this provider: it sends no webhooks",
		edit(t, houses, "  - name: reach\n", "    webhook: {secret: {env: HOOK}}\n  - name: reach\n"):              "weir.yaml:6:5: accounts[0].webhook: belongs into a lane's block",
	} {
		_, err := config.Parse("weir.yaml", []byte(text), hookEnv)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant %s", err, want)
		}
	}
}

// A command that only talks to the broker needs none of these secrets.
func TestLoadBrokerWantsNoWebhookSecret(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "weir.yaml")
	text := edit(t, edit(t, small, "limit: 20", "webhook: {secret: {env: UNSET}}"),
		"lanes:", "gateway: {listen: ':8090', token: {env: UNSET}, behind_proxy: true}\nlanes:")
	write(t, name, text)
	if _, err := config.LoadBroker(name, hookEnv); err != nil {
		t.Errorf("got %v, want it to load", err)
	}
}
