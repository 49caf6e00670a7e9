//go:build compose && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/chaos"
)

// stack is what docker-compose.yml starts, in a project of its own, out of a copy
// of the files that a clone would have.
type stack struct {
	t       *testing.T
	dir     string
	project string
	cluster bool
	command []string // docker compose, or docker-compose
	env     []string
	hist    *chaos.History
}

// imageStandIn marks the images that are made here in place of public ones.
const imageStandIn = "weir.stand-in"

// composeImage is the tag of weir's image in these tests.
const composeImage = "compose-test"

// override is what the test changes: both providers have more room than the limits
// in the configuration, so that nothing but weir keeps them.
const override = `services:
  simulator:
    command: [simulate, --listen, "0.0.0.0:8077", --tls, tls, --tls-name, "simulator,localhost", --limit, "26", --call-limit, "14", --log, calls.ndjson]
`

// engine returns how compose is called, and fails without a Docker engine.
func engine(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	if err != nil {
		t.Fatalf("make compose-test wants a Docker engine that this user may use, and \"docker version\" says: %v: %s", err, out)
	}
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(command[0], append(command[1:], "version")...).Run() == nil {
			t.Logf("engine %s, %s", strings.TrimSpace(string(out)), strings.Join(command, " "))
			return command
		}
	}
	t.Fatal("make compose-test wants Compose: neither \"docker compose\" nor \"docker-compose\" works")
	return nil
}

// buildImages makes the images that are not there, without a network, and removes
// them in the end.
func buildImages(t *testing.T) {
	t.Helper()
	must(t, "../..", "make", "image", "VERSION="+composeImage)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "weir:"+composeImage).Run() })
	file, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	nats := regexp.MustCompile(`image: (nats:\S+)`).FindStringSubmatch(string(file))[1]
	out, err := exec.Command("docker", "image", "inspect", nats, "--format", `{{index .Config.Labels "`+imageStandIn+`"}}`).Output()
	if err == nil && strings.TrimSpace(string(out)) == "" {
		return // the public one is there
	}
	dir := t.TempDir()
	must(t, "../..", "env", "CGO_ENABLED=0", "go", "build", "-o", filepath.Join(dir, "nats-server"), "github.com/nats-io/nats-server/v2")
	must(t, "../../deploy/composetest", "env", "CGO_ENABLED=0", "go", "build", "-o", filepath.Join(dir, "wget"), "./wget")
	dockerfile := "FROM scratch\nLABEL " + imageStandIn + "=true\nCOPY nats-server wget /usr/local/bin/\nVOLUME /data\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "docker", "build", "--quiet", "--tag", nats, ".")
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", nats).Run() })
}

// must runs a command.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// newStack copies what a clone has into a folder of its own, and makes its secrets.
func newStack(t *testing.T, command []string, cluster bool) *stack {
	t.Helper()
	s := &stack{t: t, dir: t.TempDir(), cluster: cluster, command: command}
	s.project = fmt.Sprintf("weirtest%d%t", os.Getpid(), cluster)
	s.env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+s.project, "WEIR_VERSION="+composeImage, "WEIR_BROKER=one", "COMPOSE_PROFILES=",
		"COMPOSE_FILE=docker-compose.yml:override.yml", "WEIR_PORTS=21090-21119", "WEIR_CONSOLE_PORTS=21190-21219")
	if cluster {
		s.env = append(s.env, "WEIR_BROKER=cluster", "COMPOSE_PROFILES=cluster")
	}
	must(t, "../..", "cp", "docker-compose.yml", s.dir)
	if err := os.CopyFS(filepath.Join(s.dir, "deploy"), withoutSecrets{os.DirFS("../../deploy")}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "override.yml"), []byte(override), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one.yaml", "cluster.yaml"} {
		path := filepath.Join(s.dir, "deploy/compose/weir", name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Doubts are made on purpose here, and are not to stop the lane.
		changed := strings.Replace(string(text), "    limit: 20\n", "    limit: 20\n    doubt_limit: 0\n    timeout: 3s\n", 1)
		changed = strings.ReplaceAll(changed, "    account: globex\n", "    account: globex\n    attempts: 100\n")
		if changed == string(text) {
			t.Fatalf("%s is not what this test takes it for", path)
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(t, s.dir, "sh", "deploy/compose/secrets.sh")
	var err error
	if s.hist, err = chaos.OpenHistory(filepath.Join(s.dir, "history.ndjson"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

// withoutSecrets is a file system that lacks what Git ignores.
type withoutSecrets struct{ fs.FS }

// ReadDir leaves secrets out.
func (w withoutSecrets) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	kept := entries[:0]
	for _, e := range entries {
		if e.Name() != "secrets" {
			kept = append(kept, e)
		}
	}
	return kept, err
}

// remove takes everything away that belongs to the project.
func (s *stack) remove() {
	if s.t.Failed() {
		for _, service := range []string{"weir", "nats", "simulator"} {
			out, _ := s.try(s.command[0], append(s.command[1:], "logs", "--no-color", "--tail", "60", service)...)
			s.t.Logf("the end of the log of %s:\n%s", service, out)
		}
	}
	_ = s.hist.Close()
	if out, err := s.try(s.command[0], append(s.command[1:], "down", "--volumes", "--remove-orphans", "--timeout", "10")...); err != nil {
		s.t.Errorf("down: %v\n%s", err, out)
	}
}

// try runs a command with the project's environment.
func (s *stack) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String() + said.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

// compose runs a command of Compose.
func (s *stack) compose(args ...string) {
	s.t.Helper()
	if _, err := s.try(s.command[0], append(s.command[1:], args...)...); err != nil {
		s.t.Fatal(err)
	}
}

// docker runs a command of the engine's.
func (s *stack) docker(args ...string) string {
	s.t.Helper()
	out, err := s.try("docker", args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// up starts the stack, or changes how many replicas of weir there are, and waits
// until they are healthy.
func (s *stack) up(replicas int) {
	s.t.Helper()
	services := []string{"weir"}
	if s.cluster {
		services = append(services, "nats-2", "nats-3")
	}
	// One that was killed or paused is called unhealthy until it is asked again, and
	// Compose gives up on what depends on it.
	for _, service := range []string{"nats", "nats-2", "nats-3", "simulator"} {
		await(s.t, 5*time.Minute, service+" to be healthy", func() bool {
			return len(s.containers(service)) == len(s.containers(service, "health=healthy"))
		})
	}
	s.compose(append([]string{"up", "--detach", "--no-build", "--scale", fmt.Sprint("weir=", replicas)}, services...)...)
	await(s.t, 5*time.Minute, fmt.Sprintf("%d healthy replicas", replicas), func() bool {
		return len(s.containers("weir", "health=healthy")) == replicas
	})
}

// containers returns the ids of a service's running containers.
func (s *stack) containers(service string, filters ...string) []string {
	args := []string{"ps", "--no-trunc", "--quiet", "--filter", "label=com.docker.compose.project=" + s.project, "--filter", "label=com.docker.compose.service=" + service}
	for _, f := range filters {
		args = append(args, "--filter", f)
	}
	out, err := s.try("docker", args...)
	if err != nil {
		return nil
	}
	return strings.Fields(out)
}

// one returns the container of a service that has one.
func (s *stack) one(service string) string {
	s.t.Helper()
	ids := s.containers(service)
	if len(ids) != 1 {
		s.t.Fatalf("%s: got containers %v, want one", service, ids)
	}
	return ids[0]
}

// owner returns the container that has a lane, once there is one. Each replica's
// name ends in the first letters of its container's id.
func (s *stack) owner(lane string) (id string) {
	s.t.Helper()
	await(s.t, 2*time.Minute, "an owner of "+lane, func() bool {
		ids := s.containers("weir")
		for _, asked := range ids {
			out, err := s.try("docker", "exec", asked, "/weir", "lanes", "--output", "json")
			var lanes []struct{ Lane, Owner string }
			if err != nil || json.Unmarshal([]byte(out), &lanes) != nil {
				continue
			}
			for _, l := range lanes {
				for _, candidate := range ids {
					if l.Lane == lane && strings.HasSuffix(l.Owner, candidate[:12]) {
						id = candidate
						return true
					}
				}
			}
		}
		return false
	})
	return id
}

// addresses returns where the gateways are published now.
func (s *stack) addresses() (all []string) {
	for _, id := range s.containers("weir") {
		if out, err := s.try("docker", "port", id, "8090"); err == nil && strings.TrimSpace(out) != "" {
			all = append(all, strings.Fields(out)[0])
		}
	}
	return all
}

// brokers are the URLs of the brokers on the project's own network.
func (s *stack) brokers() string {
	s.t.Helper()
	services := []string{"nats"}
	if s.cluster {
		services = append(services, "nats-2", "nats-3")
	}
	var urls []string
	for _, service := range services {
		ip := s.docker("inspect", s.one(service), "--format", `{{(index .NetworkSettings.Networks "`+s.project+`_broker").IPAddress}}`)
		urls = append(urls, "nats://"+ip+":4222")
	}
	return strings.Join(urls, ",")
}

// secret returns one of those that the script made.
func (s *stack) secret(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "deploy/compose/secrets", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
