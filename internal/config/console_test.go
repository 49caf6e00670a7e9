package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

func TestConsole(t *testing.T) {
	t.Parallel()
	const missing = "weir.yaml:1:1: console.token: is missing: who opens the pages can stop lanes and send calls again"
	for name, tt := range map[string]struct{ block, want string }{
		"at home":        {"console: {listen: '127.0.0.1:8091', token: {env: HOOK}}", ""},
		"behind a proxy": {"console: {listen: ':8091', token: {env: HOOK}, behind_proxy: true}", ""},
		"in public":      {"console: {listen: ':8091', token: {env: HOOK}}", "weir.yaml:1:11: console.listen: can be reached by others: give tls too, or behind_proxy: true if TLS ends at a proxy"},
		"nothing":        {"console: {}", missing + "\nweir.yaml:1:1: console.listen: is missing"},
		"no token":       {"console: {listen: '127.0.0.1:8091'}", missing},
		"no port":        {"console: {listen: localhost, token: {env: HOOK}}", "weir.yaml:1:11: console.listen: must be an address with a port, such as 127.0.0.1:8091"},
		"half of TLS":    {"console: {listen: '127.0.0.1:8091', token: {env: HOOK}, tls: {cert: weir.yaml}}", "weir.yaml:1:57: console.tls.key: is missing: it goes together with console.tls.cert\nweir.yaml:1:63: console.tls.cert: the file that is named here does not exist"},
		"a short token":  {"console: {listen: '127.0.0.1:8091', token: {env: SHORT}}", "weir.yaml:1:37: console.token: must have 16 to 128 characters"},
		"the gateway's token": {
			"gateway: {listen: '127.0.0.1:8090', token: {env: HOOK}}\nconsole: {listen: '127.0.0.1:8091', token: {env: HOOK}}",
			"weir.yaml:2:37: console.token: is also the token of gateway: each needs its own",
		},
		"a publisher's token": {
			publisher("lanes: [acme]") + "\nconsole: {listen: '127.0.0.1:8091', token: {env: HOOK}}",
			"weir.yaml:2:37: console.token: is also the token of gateway.publishers[0]: each needs its own",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Parse("weir.yaml", []byte(edit(t, small, "lanes:", tt.block+"\nlanes:")), hookEnv)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if tt.want == "" && cfg != nil {
				if diff := cmp.Diff([]schema.Secret{"0123456789abcdef"}, cfg.Console.Token.Values); diff != "" {
					t.Errorf("token (-want +got):\n%s", diff)
				}
			}
		})
	}
}
