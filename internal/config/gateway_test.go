package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
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
	want := config.Gateway{Listen: "0.0.0.0:8090", Token: "a-value-of-GATEWAY_TOKEN", BehindProxy: true}
	if diff := cmp.Diff(want, cfg.Gateway); diff != "" {
		t.Errorf("gateway (-want +got):\n%s", diff)
	}
	if got := cfg.Accounts[0].Lanes[0].Webhook.Secret.Reveal(); got != "0123456789abcdef" {
		t.Errorf("secret: got %q", got)
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
		"no gateway":       {"", hook, "weir.yaml:6:5: lanes[0].webhook: needs gateway: {listen: 127.0.0.1:8090}, or nobody hears it"},
		"no address":       {"gateway: {behind_proxy: true}", hook, "weir.yaml:1:1: gateway.listen: is missing"},
		"no port":          {"gateway: {listen: 127.0.0.1}", hook, "weir.yaml:1:11: gateway.listen: must be an address with a port, such as 127.0.0.1:8090"},
		"a bad port":       {"gateway: {listen: '127.0.0.1:x'}", hook, "weir.yaml:1:11: gateway.listen: must be an address with a port, such as 127.0.0.1:8090"},
		"public, no token": {"gateway: {listen: ':8090', behind_proxy: true}", hook, "weir.yaml:1:11: gateway.listen: can be reached by others: give a token too, or listen on 127.0.0.1"},
		"public, no TLS":   {"gateway: {listen: ':8090', token: {env: TOKEN}}", hook, "weir.yaml:1:11: gateway.listen: can be reached by others: give tls too, or behind_proxy: true if TLS ends at a proxy"},
		"a short token":    {"gateway: {listen: '127.0.0.1:8090', token: {env: SHORT}}", hook, "weir.yaml:1:37: gateway.token: must have 16 to 128 characters"},
		"half a key pair":  {"gateway: {listen: '127.0.0.1:8090', tls: {cert: none.pem}}", hook, "weir.yaml:1:37: gateway.tls.key: is missing: it goes together with gateway.tls.cert\nweir.yaml:1:43: gateway.tls.cert: the file that is named here does not exist"},
		"no block":         {"gateway: yes", hook, "weir.yaml:1:1: gateway: must be a block of keys"},
		"no secret":        {local, "webhook: {secret: {env: UNSET}}", "weir.yaml:7:15: lanes[0].webhook.secret: environment variable UNSET is not set"},
		"a literal":        {local, "webhook: {secret: 0123456789abcdef}", "weir.yaml:7:15: lanes[0].webhook.secret: must be {env: NAME} or {file: PATH}; a secret itself never stands in this file"},
		"too short":        {local, "webhook: {secret: {env: SHORT}}", "weir.yaml:7:15: lanes[0].webhook.secret: must have 16 to 128 characters"},
		"too long":         {local, "webhook: {secret: {env: LONG}}", "weir.yaml:7:15: lanes[0].webhook.secret: must have 16 to 128 characters"},
		"a slash in it":    {local, "webhook: {secret: {env: SLASH}}", "weir.yaml:7:15: lanes[0].webhook.secret: stands in an address: it may have letters, digits and - _ . ~ alone"},
		"an empty block":   {local, "webhook: {}", "weir.yaml:7:5: lanes[0].webhook.secret: is missing"},
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
