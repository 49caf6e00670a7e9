// Package composetest_test holds docker-compose.yml against compose-go, the reader
// of Docker Compose. It is a module of its own, so that what compose-go brings along
// is no dependency of weir's. What the file's commands, ports and volumes mean to the
// binary is held by cmd/weir's own tests.
package composetest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads the file as "docker compose" would with these variables set.
func load(t *testing.T, file string, env ...string) (*types.Project, error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{file}, cli.WithName("weir"), cli.WithEnv(env), cli.WithDefaultProfiles())
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(context.Background())
}

// names returns the services that would run.
func names(p *types.Project) []string {
	all := p.ServiceNames()
	slices.Sort(all)
	return all
}

func TestComposeFileLoads(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env  []string
		want string
	}{
		"with nothing set": {nil, "nats prometheus simulator weir"},
		"three brokers":    {[]string{"WEIR_BROKER=cluster", "COMPOSE_PROFILES=cluster"}, "nats nats-2 nats-3 prometheus simulator weir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := load(t, "../../docker-compose.yml", tt.env...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(names(p), " "); got != tt.want {
				t.Errorf("services: got %s, want %s", got, tt.want)
			}
			for _, s := range p.Services {
				guarded(t, p, s)
			}
			if weir := p.Services["weir"]; weir.GetScale() != 2 || slices.ContainsFunc(weir.Ports, func(p types.ServicePortConfig) bool { return !strings.Contains(p.Published, "-") }) {
				t.Errorf("weir: got scale %d and ports %+v, want 2 and ranges, so that there can be more", weir.GetScale(), weir.Ports)
			}
		})
	}
}

// guarded holds that a service has no more rights and room than it needs, and that
// what it refers to is there.
func guarded(t *testing.T, p *types.Project, s types.ServiceConfig) {
	t.Helper()
	if !s.ReadOnly || s.Privileged || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("%s: got read_only %v, privileged %v, cap_drop %v, security_opt %v, want a read-only container without rights", s.Name, s.ReadOnly, s.Privileged, s.CapDrop, s.SecurityOpt)
	}
	if s.MemLimit == 0 || s.PidsLimit == 0 || s.HealthCheck == nil || s.Restart == "" {
		t.Errorf("%s: got memory %d, processes %d, health check %v, restart %q, want each set", s.Name, s.MemLimit, s.PidsLimit, s.HealthCheck, s.Restart)
	}
	if tag := s.Image[strings.LastIndex(s.Image, ":")+1:]; tag == "latest" || !strings.Contains(s.Image, ":") {
		t.Errorf("%s: image %s names no version", s.Name, s.Image)
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" {
			t.Errorf("%s: port %d is published on %q, want 127.0.0.1 alone", s.Name, port.Target, port.HostIP)
		}
	}
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
			t.Errorf("%s: %s: got %v, read-only %v, want what is there, read-only", s.Name, v.Source, err, v.ReadOnly)
		}
	}
	for name := range s.Environment {
		if strings.Contains(name, "PASSWORD") || strings.Contains(name, "TOKEN") || strings.Contains(name, "KEY") {
			t.Errorf("%s: environment variable %s looks like a secret, which is a file here", s.Name, name)
		}
	}
	if b := p.Networks["broker"]; !bool(b.Internal) {
		t.Error("the network of the brokers is not internal")
	}
}

// The checks of compose-go are what this module is for: a slip is found.
func TestSlipsAreFound(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"a key that is none":    {"    scale: 2\n", "    scales: 2\n"},
		"an unknown service":    {"      nats: {condition: service_healthy}\n", "      natz: {condition: service_healthy}\n"},
		"an unknown network":    {"networks: [broker, outside]", "networks: [brokre, outside]"},
		"an unknown volume":     {"simulator:/var/lib/weir:ro", "simulatr:/var/lib/weir:ro"},
		"an unknown condition":  {"condition: service_healthy}\n", "condition: service_well}\n"},
		"an unknown secret":     {"secrets: [nats]", "secrets: [gnats]"},
		"a variable cut short":  {"${WEIR_BROKER:-one}.yaml", "${WEIR_BROKER:-one.yaml"},
		"a duration without s":  {"interval: 5s", "interval: soon"},
		"memory without a unit": {"mem_limit: 512m", "mem_limit: much"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(data), edit[0], edit[1], 1)
			if text == string(data) {
				t.Fatalf("the file has no %q", edit[0])
			}
			file := filepath.Join(t.TempDir(), "docker-compose.yml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := load(t, file); err == nil {
				t.Error("got no error")
			}
		})
	}
}
