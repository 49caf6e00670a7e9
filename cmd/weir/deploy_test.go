package main

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/internal/config"
)

// composeService is what of a service of docker-compose.yml means something to weir.
type composeService struct {
	Image       string
	Command     []string
	Ports       []string
	Environment map[string]string
	Volumes     []string
	Secrets     []string
	DependsOn   any `yaml:"depends_on"`
	Healthcheck struct{ Test []string }
}

// variables replaces ${NAME:-default} by what is set, or the default.
func variables(text string, set map[string]string) string {
	return regexp.MustCompile(`\$\{(\w+):-([^}]*)\}`).ReplaceAllStringFunc(text, func(ref string) string {
		m := regexp.MustCompile(`\$\{(\w+):-([^}]*)\}`).FindStringSubmatch(ref)
		if value, ok := set[m[1]]; ok {
			return value
		}
		return m[2]
	})
}

// composeServices reads docker-compose.yml.
func composeServices(t *testing.T, set map[string]string) map[string]composeService {
	t.Helper()
	var file struct{ Services map[string]composeService }
	if err := yaml.Unmarshal([]byte(variables(textOf(t, "../../docker-compose.yml"), set)), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parsed reads a command line as the binary would.
func parsed(t *testing.T, args ...string) cli {
	t.Helper()
	var flags cli
	parser, err := kong.New(&flags, kong.Exit(func(int) { t.Errorf("%v: the command line ended the program", args) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Errorf("%v: %v", args, err)
	}
	return flags
}

// inContainers lays out a folder as the containers have their root: configuration
// and secrets.
func inContainers(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	script := filepath.Join(root, "secrets.sh")
	if err := os.WriteFile(script, []byte(textOf(t, "../../deploy/compose/secrets.sh")), 0o600); err != nil {
		t.Fatal(err)
	}
	var made [2]string
	for i := range made {
		if out, err := exec.Command("sh", script).CombinedOutput(); err != nil {
			t.Fatalf("secrets.sh: %v: %s", err, out)
		}
		made[i] = textOf(t, filepath.Join(root, "secrets/gateway_token")) + textOf(t, filepath.Join(root, "secrets/nats"))
	}
	if made[0] != made[1] || len(made[0]) < 100 {
		t.Error("secrets.sh made other secrets the second time, want those that were there")
	}
	if info, err := os.Stat(filepath.Join(root, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the secrets: got %v (%v), want one for its owner alone", info, err)
	}
	for from, to := range map[string]string{"weir": "etc/weir", "nats": "etc/nats"} {
		if err := os.CopyFS(filepath.Join(root, to), os.DirFS("../../deploy/compose/"+from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "secrets"), filepath.Join(root, "run/secrets")); err != nil {
		t.Fatal(err)
	}
	return root
}

// composeConfig loads a configuration of docker-compose.yml.
func composeConfig(t *testing.T, root, name string) *config.Config {
	t.Helper()
	path := filepath.Join(root, "etc/weir", name)
	text := strings.ReplaceAll(textOf(t, path), "/run/secrets", filepath.Join(root, "run/secrets"))
	cfg, err := config.Parse(path, []byte(text), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// What docker-compose.yml has the binary do, it can do.
func TestComposeServices(t *testing.T) {
	t.Parallel()
	root := inContainers(t)
	for _, way := range []string{"one", "cluster"} {
		services := composeServices(t, map[string]string{"WEIR_BROKER": way})
		for _, name := range []string{"weir", "simulator"} {
			s := services[name]
			parsed(t, s.Command...)
			if len(s.Healthcheck.Test) < 3 || s.Healthcheck.Test[0] != "CMD" || s.Healthcheck.Test[1] != "/weir" {
				t.Fatalf("%s: health check %v, want CMD /weir and a command", name, s.Healthcheck.Test)
			}
			parsed(t, s.Healthcheck.Test[2:]...)
		}
		weir := services["weir"]
		if got, want := weir.Environment["WEIR_CONFIG"], "/etc/weir/"+way+".yaml"; got != want {
			t.Errorf("WEIR_CONFIG: got %s, want %s", got, want)
		}
		cfg := composeConfig(t, root, way+".yaml")
		listens := map[string]string{"gateway": cfg.Gateway.Listen, "console": cfg.Console.Listen, "admin": cfg.Admin.Listen}
		for name, at := range listens {
			if host, _, err := net.SplitHostPort(at); err != nil || host != "0.0.0.0" {
				t.Errorf("%s listens on %s, where nobody outside of its container reaches it", name, at)
			}
		}
		for i, listen := range []string{cfg.Gateway.Listen, cfg.Console.Listen} {
			if want := listen[strings.LastIndex(listen, ":"):]; len(weir.Ports) != 2 || !strings.HasSuffix(weir.Ports[i], want) {
				t.Errorf("ports: got %v, want number %d to lead to %s", weir.Ports, i, want)
			}
		}
		simulated(t, cfg, services["simulator"], weir)
		secrets := regexp.MustCompile(`/run/secrets/(\w+)`).FindAllStringSubmatch(textOf(t, filepath.Join(root, "etc/weir", way+".yaml")), -1)
		named := map[string]bool{}
		for _, s := range secrets {
			named[s[1]] = true
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(named)), slices.Sorted(slices.Values(weir.Secrets))); diff != "" {
			t.Errorf("secrets of weir that %s.yaml names (-) and that the container has (+):\n%s", way, diff)
		}
		for _, u := range cfg.Broker.URLs {
			at, err := url.Parse(u)
			if err != nil || services[at.Hostname()].Image == "" {
				t.Errorf("%s: broker %s is no service", way, u)
			}
		}
	}
}

// simulated holds that the accounts lead to the simulator, over TLS that weir
// trusts, and that no call there is longer than the accounts allow.
func simulated(t *testing.T, cfg *config.Config, sim, weir composeService) {
	t.Helper()
	c := parsed(t, sim.Command...).Simulate
	_, port, _ := net.SplitHostPort(c.Listen)
	for _, a := range cfg.Accounts {
		u, err := url.Parse(a.URL)
		if err != nil || u.Scheme != "https" || u.Hostname() != "simulator" || u.Port() != port || !slices.Contains(c.TLSName, u.Hostname()) {
			t.Errorf("account %s at %s: want https at simulator:%s, for which the certificate is: %v", a.Name, a.URL, port, c.TLSName)
		}
		if a.MaxCall.Seconds() < 600/c.Scale {
			t.Errorf("account %s: max_call %v is below the simulator's longest call", a.Name, a.MaxCall)
		}
	}
	volume, _, _ := strings.Cut(sim.Volumes[0], ":")
	if len(weir.Volumes) < 2 || weir.Volumes[1] != volume+":/var/lib/weir:ro" || weir.Environment["SSL_CERT_DIR"] != "/var/lib/weir/"+filepath.Base(c.TLS) {
		t.Errorf("weir trusts %s in %v: want the simulator's folder %s of its volume", weir.Environment["SSL_CERT_DIR"], weir.Volumes, c.TLS)
	}
	if alive := parsed(t, sim.Healthcheck.Test[2:]...).Simulate; !alive.Alive || alive.Listen != c.Listen || alive.TLS != c.TLS || !slices.Contains(c.TLSName, alive.TLSName[0]) {
		t.Errorf("health check of the simulator: got %+v, want one of %+v", alive, c)
	}
}

// The two configurations differ in the broker alone.
func TestComposeConfigurations(t *testing.T) {
	t.Parallel()
	root := inContainers(t)
	one, cluster := composeConfig(t, root, "one.yaml"), composeConfig(t, root, "cluster.yaml")
	if one.Broker.Replicas != 1 || cluster.Broker.Replicas != 3 || len(cluster.Broker.URLs) != 3 {
		t.Errorf("copies: got %d and %d on %v, want 1 and 3 on three", one.Broker.Replicas, cluster.Broker.Replicas, cluster.Broker.URLs)
	}
	one.Broker.Replicas, one.Broker.URLs = cluster.Broker.Replicas, cluster.Broker.URLs
	after := func(name string) string {
		text := textOf(t, filepath.Join("../../deploy/compose/weir", name))
		return text[strings.Index(text, "\ngateway:"):]
	}
	if diff := cmp.Diff(after("one.yaml"), after("cluster.yaml")); diff != "" {
		t.Errorf("one.yaml (-) and cluster.yaml (+) differ behind the broker:\n%s", diff)
	}
	if diff := cmp.Diff(one.Broker, cluster.Broker, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the brokers differ in more than where they are and how many copies they keep:\n%s", diff)
	}
}

// nats-server takes its configurations, writes before it confirms, and lets in
// whoever has weir's password.
func TestComposeBrokers(t *testing.T) {
	t.Parallel()
	root := inContainers(t)
	password := func(name string) string {
		return strings.TrimSpace(textOf(t, filepath.Join(root, "run/secrets", name)))
	}
	for _, way := range []string{"one", "cluster"} {
		o, err := server.ProcessConfigFile(filepath.Join(root, "etc/nats", way+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		if !o.SyncAlways || !o.JetStream || !strings.HasPrefix(o.StoreDir, "/data/") || o.HTTPHost != "127.0.0.1" || o.Port != 4222 {
			t.Errorf("%s: got sync %v, JetStream %v in %s, monitor at %s, port %d", way, o.SyncAlways, o.JetStream, o.StoreDir, o.HTTPHost, o.Port)
		}
		if got := len(o.Routes); got != map[string]int{"cluster": 3}[way] {
			t.Errorf("%s: got %d routes", way, got)
		}
		if way == "cluster" {
			continue // its account is the same, and three servers take long to elect
		}
		o.Host, o.Port, o.HTTPPort, o.StoreDir, o.NoLog, o.NoSigs = "127.0.0.1", -1, 0, t.TempDir(), true, true
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		defer s.WaitForShutdown()
		defer s.Shutdown()
		if !s.ReadyForConnections(patience) {
			t.Fatal("nats-server did not come up")
		}
		nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("weir", password("broker_password")), nats.Timeout(patience))
		if err != nil {
			t.Fatalf("weir's password: %v", err)
		}
		defer nc.Close()
		if _, err := nc.Request("$JS.API.INFO", nil, patience); err != nil {
			t.Errorf("weir's account has no JetStream: %v", err)
		}
		system, err := nats.Connect(s.ClientURL(), nats.UserInfo("system", password("system_password")), nats.Timeout(patience))
		if err != nil {
			t.Fatalf("the system account's password: %v", err)
		}
		defer system.Close()
		if _, err := system.Request("$SYS.REQ.SERVER.PING", nil, patience); err != nil {
			t.Errorf("the system account: %v", err)
		}
		if _, err := nats.Connect(s.ClientURL(), nats.UserInfo("weir", ""), nats.Timeout(patience)); err == nil {
			t.Error("the broker lets in whoever has no password")
		}
	}
}

// lastStage returns the instructions of a Dockerfile's last stage, without comments.
func lastStage(t *testing.T, path string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(textOf(t, path)) {
		switch {
		case strings.HasPrefix(line, "FROM "):
			lines = nil
			fallthrough
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// Both Dockerfiles make the same image, of nothing but what weir needs, and what
// docker-compose.yml takes for granted is so.
func TestImages(t *testing.T) {
	t.Parallel()
	source, prebuilt := lastStage(t, "../../deploy/Dockerfile"), lastStage(t, "../../deploy/prebuilt.Dockerfile")
	copies := func(line string) bool { return strings.HasPrefix(line, "COPY ") }
	for _, lines := range [][]string{source, prebuilt} {
		var owned []bool // by the user that weir runs as: the binary is not, the store is
		for _, line := range lines {
			if copies(line) {
				owned = append(owned, strings.Contains(line, "--chown=65532:65532"))
			}
		}
		if !cmp.Equal(owned, []bool{false, true}) {
			t.Errorf("got COPY that change the owner %v in %q, want the second alone", owned, lines)
		}
	}
	if diff := cmp.Diff(slices.DeleteFunc(source, copies), slices.DeleteFunc(prebuilt, copies)); diff != "" {
		t.Errorf("the last stages of Dockerfile (-) and prebuilt.Dockerfile (+) differ:\n%s", diff)
	}
	value := func(instruction string) string {
		for _, line := range prebuilt {
			if rest, ok := strings.CutPrefix(line, instruction+" "); ok {
				return rest
			}
		}
		t.Fatalf("the image has no %s", instruction)
		return ""
	}
	words := regexp.MustCompile(`"([^"]*)"`)
	list := func(instruction string) (args []string) {
		for _, m := range words.FindAllStringSubmatch(value(instruction), -1) {
			args = append(args, m[1])
		}
		return args
	}
	if value("FROM") != "scratch" || value("USER") != "65532:65532" || !cmp.Equal(list("ENTRYPOINT"), []string{"/weir"}) {
		t.Errorf("the image is FROM %s, USER %s, ENTRYPOINT %v", value("FROM"), value("USER"), list("ENTRYPOINT"))
	}
	parsed(t, list("CMD")...)
	health := list("HEALTHCHECK")
	if len(health) < 2 || health[0] != "/weir" {
		t.Fatalf("HEALTHCHECK: got %v, want weir's own", health)
	}
	parsed(t, health[1:]...)
	cfg := composeConfig(t, inContainers(t), "one.yaml")
	for _, at := range []string{cfg.Gateway.Listen, cfg.Console.Listen, cfg.Admin.Listen} {
		if _, port, _ := net.SplitHostPort(at); !slices.Contains(strings.Fields(value("EXPOSE")), port) {
			t.Errorf("EXPOSE %s: port %s is missing", value("EXPOSE"), port)
		}
	}
	if got := value("ENV"); got != "WEIR_CONFIG=/etc/weir/weir.yaml" {
		t.Errorf("ENV: got %s", got)
	}
}

// Versions that stand in more than one place are the same ones, and .env.example
// has what can be set.
func TestDeployVersions(t *testing.T) {
	t.Parallel()
	mod, compose := textOf(t, "../../go.mod"), textOf(t, "../../docker-compose.yml")
	nats := regexp.MustCompile(`nats-server/v2 v(\S+)`).FindStringSubmatch(mod)[1]
	if want := "image: nats:" + nats + "-alpine"; !strings.Contains(compose, want) {
		t.Errorf("docker-compose.yml has no %q, though weir is built and tested with that version", want)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(mod)[1]
	if want := "ARG GO=" + version + "\n"; !strings.Contains(textOf(t, "../../deploy/Dockerfile"), want) {
		t.Errorf("deploy/Dockerfile has no %q", want)
	}
	example := textOf(t, "../../.env.example")
	for _, m := range regexp.MustCompile(`\$\{(\w+):-([^}]*)\}`).FindAllStringSubmatch(compose, -1) {
		want := fmt.Sprintf("#%s=%s\n", m[1], m[2])
		if m[1] == "WEIR_BROKER" {
			want = "#WEIR_BROKER=cluster\n"
		}
		if !strings.Contains(example, want) {
			t.Errorf(".env.example has no %q", want)
		}
	}
}

// The workflows are YAML, call what the Makefile has, and name a version of each
// action.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) != 2 {
		t.Fatalf("workflows: got %v (%v), want two", files, err)
	}
	makefile := textOf(t, "../../Makefile")
	for _, file := range files {
		var workflow struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Steps []struct{ Uses, Run string }
			}
		}
		if err := yaml.Unmarshal([]byte(textOf(t, file)), &workflow); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if diff := cmp.Diff(map[string]string{"contents": "read"}, workflow.Permissions); diff != "" {
			t.Errorf("%s: permissions of all jobs (-want +got):\n%s", file, diff)
		}
		for name, job := range workflow.Jobs {
			for _, step := range job.Steps {
				if step.Uses != "" && !regexp.MustCompile(`^[\w./-]+@v[0-9.]+$`).MatchString(step.Uses) {
					t.Errorf("%s, %s: %s names no version", file, name, step.Uses)
				}
				for _, target := range regexp.MustCompile(`(?m)\bmake ([a-z-]+)`).FindAllStringSubmatch(step.Run, -1) {
					if !strings.Contains(makefile, "\n"+target[1]+": ") {
						t.Errorf("%s, %s: the Makefile has no %s", file, name, target[1])
					}
				}
			}
		}
	}
}
