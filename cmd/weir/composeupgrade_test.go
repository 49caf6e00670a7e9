//go:build compose && linux

package main

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// composeBefore is the oldest version with a docker-compose.yml; OLD names another.
const composeBefore = "b07d219"

// imageBefore makes the image of the version before out of what Git has of it.
func imageBefore(t *testing.T) (tag string) {
	t.Helper()
	dir := t.TempDir()
	revision := cmp.Or(os.Getenv("OLD"), composeBefore)
	must(t, "../..", "sh", "-c", `git archive "$1" | tar -x -C "$2"`, "sh", revision, dir)
	tag = composeImage + "-before"
	must(t, dir, "make", "image", "VERSION="+tag)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "weir:"+tag).Run() })
	return tag
}

// TestComposeUpgrade takes the replicas of docker-compose.yml from the version before
// to this one, back, and forward again, by the commands of docs/upgrade.md, while the
// gateways are given events.
func TestComposeUpgrade(t *testing.T) {
	command := engine(t)
	old := imageBefore(t)
	buildImages(t)
	s := newStack(t, command, false)
	s.env = append(s.env, "WEIR_VERSION="+old) // the last one counts
	s.up(2)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	f := &feeder{s: s, client: &http.Client{Timeout: 20 * time.Second}, token: s.secret("gateway_token")}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.feed(ctx, 300, 90*time.Second)
	}()
	for _, tag := range []string{composeImage, old, composeImage} {
		_ = sleep(ctx, 15*time.Second)
		heal := s.hist.Disturb("upgrade", tag)
		up := append([]string{"WEIR_VERSION=" + tag}, append(s.command, "up", "--detach", "--no-deps", "weir")...)
		if _, err := s.try("env", up...); err != nil {
			t.Fatal(err)
		}
		await(t, patience, "the lanes to have an owner that says so", func() bool {
			out, err := s.try(s.command[0], append(s.command[1:], "exec", "-T", "weir", "/weir", "lanes")...)
			return err == nil && !strings.Contains(out, "no running weir")
		})
		heal()
		s.compose("exec", "-T", "weir", "/weir", "check")
		for _, id := range s.containers("weir") {
			if image := strings.TrimSpace(s.docker("inspect", id, "--format", "{{.Config.Image}}")); image != "weir:"+tag {
				t.Errorf("container %s runs %s, want weir:%s", id, image, tag)
			}
		}
	}
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatal("the gateways did not take all events within 5 minutes")
	}
	b := s.witness(ctx)
	defer func() { _ = b.Close(context.WithoutCancel(ctx)) }()
	s.settle(ctx, b, f.sent)
	v := s.check(ctx, b, f.sent)
	for _, finding := range v.Findings {
		t.Errorf("%s: %s", finding.Kind, finding.Text)
	}
	t.Logf("%d events: %d ended, %d dead, %d in doubt, %d findings", v.Events, v.Ended, v.Dead, v.Doubts, len(v.Findings))
}
