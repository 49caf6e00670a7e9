package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/simulator"
)

// section returns the commands in the blocks of one section of docs/upgrade.md.
func section(t *testing.T, title string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "upgrade.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("docs/upgrade.md has no section %q", title)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for i, part := range strings.Split(rest, "```") {
		if i%2 == 1 {
			commands = append(commands, strings.Split(strings.TrimSpace(part), "\n")...)
		}
	}
	return commands
}

// TestUpgradePage follows docs/upgrade.md from a binary to another one, over an
// embedded store, with a lead before and one after it.
func TestUpgradePage(t *testing.T) {
	t.Parallel()
	p := newPlantOf(t, simulator.Config{}, "sales")
	dir := filepath.Dir(p.yaml)
	for _, name := range []string{"weir", "weir.new"} {
		script := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asWeir, os.Args[0])
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		env = append(env, name+"="+p.env[name])
	}
	var running *exec.Cmd
	var said *syncBuffer
	serve := func(words ...string) {
		said = &syncBuffer{}
		running = exec.Command(filepath.Join(dir, words[0]), words[1:]...)
		running.Dir, running.Env, running.Stdout, running.Stderr = dir, env, said, said
		running.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := running.Start(); err != nil {
			t.Fatal(err)
		}
		cmd := running
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	run := func(line string) {
		t.Helper()
		words := strings.Fields(line)
		if slices.Equal(words[:2], []string{"weir", "serve"}) {
			serve(words...)
			return
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir, cmd.Env = dir, append(env, fmt.Sprint("PID=", running.Process.Pid))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		if words[0] == "kill" {
			if err := running.Wait(); err != nil {
				t.Errorf("weir serve after %s: %v\n%s", line, err, said)
			}
		}
	}
	calls := func(id string) bool {
		in := p.state(t, "sales", id)
		return in.State == consumer.Created || in.State == consumer.Ended
	}
	called := func(id string) {
		t.Helper()
		leads := p.file(t, id+".ndjson", lead(id, "+1415555010"+id, ""))
		await(t, patience, "the broker to take lead "+id, func() bool { _, _, err := weir(t.Context(), p.env, "publish", "-c", p.yaml, leads); return err == nil })
		await(t, patience, "lead "+id+" to be called", func() bool { return calls(id) })
	}
	serve("weir", "serve", "-c", "weir.yaml")
	called("1")
	for _, line := range append(section(t, "Before"), section(t, "A binary")...) {
		run(line)
		if strings.HasPrefix(line, "weir serve") {
			called("2")
		}
	}
	if n := len(p.sim.Conversations()); n != 2 {
		t.Errorf("got %d conversations, want 2", n)
	}
}

// TestUpgradePageCommands holds the other commands of the page against what is run
// elsewhere, and against the files that they are about.
func TestUpgradePageCommands(t *testing.T) {
	t.Parallel()
	compose := []string{ // TestComposeUpgrade, but the first two, which need what is published
		"git checkout v1.3.0",
		"WEIR_VERSION=v1.3.0 docker compose build weir",
		"WEIR_VERSION=v1.3.0 docker compose up --detach --no-deps weir",
		"docker compose exec weir /weir lanes",
		"docker compose exec weir /weir check",
	}
	if diff := cmp.Diff(compose, section(t, "Compose")); diff != "" {
		t.Errorf("commands of Compose (-known +said):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"make upgrade-test", "make upgrade-test OLD=v1.2.0"}, section(t, "That it holds")); diff != "" {
		t.Errorf("commands of the test (-known +said):\n%s", diff)
	}
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil || !strings.Contains(string(text), "image: weir:${WEIR_VERSION:-dev}") || !strings.Contains(string(text), "stop_grace_period: 40s") {
		t.Errorf("docker-compose.yml (%v): no WEIR_VERSION in the image's name, or another stop_grace_period", err)
	}
}
