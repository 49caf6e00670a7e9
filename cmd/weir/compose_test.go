//go:build compose && linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCompose starts docker-compose.yml with images made here, with one broker and
// with three, sends events to the gateways, and meanwhile kills, stops and cuts off
// containers and changes how many there are. Then each event must have ended once,
// as the providers' own log shows. docs/deploy.md.
func TestCompose(t *testing.T) {
	command := engine(t)
	buildImages(t)
	t.Run("alone", composeAlone)
	for name, cluster := range map[string]bool{"one": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, command, cluster)
			s.up(2)
			s.story(t)
		})
	}
}

// composeAlone is one container with the embedded broker, as docs/deploy.md has it: what it
// confirmed outlives a kill.
func composeAlone(t *testing.T) {
	name := fmt.Sprint("weiralone", os.Getpid())
	file := filepath.Join(t.TempDir(), "weir.yaml")
	yaml := `embedded: {dir: /var/lib/weir/store}
admin: {listen: 127.0.0.1:8092}
lanes:
  - {name: acme, provider: oration, url: "https://127.0.0.1:9/api/v2", auth: {bearer: {env: KEY}}, limit: 1, routes: [
      {type: lead.created, request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: "${ data.phone }"}}]}
`
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("docker", "rm", "--force", name).Run()
		_ = exec.Command("docker", "volume", "rm", name).Run()
	})
	must(t, ".", "docker", "run", "--detach", "--name", name, "--read-only", "--cap-drop", "ALL", "--stop-timeout", "40", "--env", "KEY=k",
		"--volume", name+":/var/lib/weir", "--volume", file+":/etc/weir/weir.yaml:ro", "weir:"+composeImage)
	healthy := func() {
		await(t, 3*time.Minute, "the container to be healthy", func() bool {
			return strings.TrimSpace(must(t, ".", "docker", "inspect", name, "--format", "{{.State.Health.Status}}")) == "healthy"
		})
	}
	healthy()
	publish := exec.Command("docker", "exec", "--interactive", name, "/weir", "publish", "--lane", "acme", "-")
	publish.Stdin = strings.NewReader(`{"specversion":"1.0","id":"1","source":"/alone","type":"lead.created","data":{"id":"1","phone":"+14155550123"}}` + "\n")
	if out, err := publish.CombinedOutput(); err != nil {
		t.Fatalf("publish: %v: %s", err, out)
	}
	must(t, ".", "docker", "kill", name)
	must(t, ".", "docker", "start", name)
	healthy()
	if out := must(t, ".", "docker", "exec", name, "/weir", "event", "show", "--lane", "acme", "--source", "/alone", "--id", "1"); !strings.Contains(out, "lead.created") {
		t.Errorf("the event after a kill: got %s", out)
	}
	must(t, ".", "docker", "stop", name)
	if code := strings.TrimSpace(must(t, ".", "docker", "inspect", name, "--format", "{{.State.ExitCode}}")); code != "0" {
		t.Errorf("exit code after docker stop: got %s, want 0", code)
	}
}

// story is the load, the faults, the calm and the proof.
func (s *stack) story(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	f := &feeder{s: s, client: &http.Client{Timeout: 20 * time.Second}, token: s.secret("gateway_token")}
	s.pages(t)
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		f.feed(ctx, 480, 2*time.Minute)
	}()
	for _, fault := range s.faults() {
		_ = sleep(ctx, 3*time.Second)
		heal := s.hist.Disturb(fault.name, "")
		start := time.Now()
		fault.strike(ctx)
		heal()
		t.Logf("%-44s %6.1f s", fault.name, time.Since(start).Seconds())
	}
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatal("the gateways did not take all events within 5 minutes after the last fault")
	}
	s.up(2)
	b := s.witness(ctx)
	defer func() { _ = b.Close(context.WithoutCancel(ctx)) }()
	s.settle(ctx, b, f.sent)
	v := s.check(ctx, b, f.sent)
	for _, finding := range v.Findings {
		t.Errorf("%s: %s", finding.Kind, finding.Text)
	}
	logs, err := s.try(s.command[0], append(s.command[1:], "logs", "--no-color", "weir")...)
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(logs) {
		if strings.Contains(line, "panic:") || strings.Contains(line, "fatal error:") || strings.Contains(line, "DATA RACE") {
			t.Errorf("weir's log: %s", line)
		}
	}
	if v.Ended < len(f.sent)/2 {
		t.Errorf("got %d events that ended of %d: that is no proof", v.Ended, len(f.sent))
	}
	t.Logf("%d events: %d ended, %d dead, %d in doubt, %d findings, %v", v.Events, v.Ended, v.Dead, v.Doubts, len(v.Findings), time.Since(began).Round(time.Second))
}

// pages asks for the first page of each replica's console.
func (s *stack) pages(t *testing.T) {
	for _, id := range s.containers("weir") {
		at := strings.Fields(s.docker("port", id, "8091"))[0]
		resp, err := http.Get("http://" + at + "/")
		if err != nil {
			t.Errorf("console: %v", err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("console at %s: got %s", at, resp.Status)
		}
	}
}

// composeFault is one that strikes and is healed.
type composeFault struct {
	name   string
	strike func(ctx context.Context)
}

// faults are those of the story, in order.
func (s *stack) faults() []composeFault {
	faults := []composeFault{
		{"weir goes from 2 replicas to 4", func(context.Context) { s.up(4) }},
		{"the owner of acme-sales is killed", func(ctx context.Context) { s.kill(ctx, s.owner("acme-sales")) }},
		{"the owner of globex-calls stands still", func(ctx context.Context) { s.pause(ctx, s.owner("globex-calls"), 12*time.Second) }},
		{"the owner of acme-sales loses the broker", func(ctx context.Context) { s.cut(ctx, s.owner("acme-sales"), "broker", "weir", 10*time.Second) }},
		{"the owner of acme-sales loses the providers", func(ctx context.Context) { s.cut(ctx, s.owner("acme-sales"), "outside", "weir", 6*time.Second) }},
		{"the providers are cut off", func(ctx context.Context) { s.cut(ctx, s.one("simulator"), "outside", "simulator", 6*time.Second) }},
		{"the broker is killed", func(ctx context.Context) { s.kill(ctx, s.one("nats")) }},
		{"weir goes from 4 replicas to 1", func(context.Context) { s.up(1) }},
		{"the broker stands still", func(ctx context.Context) { s.pause(ctx, s.one("nats"), 6*time.Second) }},
		{"weir goes from 1 replica to 3", func(context.Context) { s.up(3) }},
	}
	if s.cluster {
		faults = append(faults,
			composeFault{"a second broker is killed", func(ctx context.Context) { s.kill(ctx, s.one("nats-2")) }},
			composeFault{"a third broker stands still", func(ctx context.Context) { s.pause(ctx, s.one("nats-3"), 10*time.Second) }},
			composeFault{"a broker is cut off from the others", func(ctx context.Context) { s.cut(ctx, s.one("nats"), "broker", "nats", 10*time.Second) }},
			composeFault{"the quorum is lost", func(ctx context.Context) {
				s.docker("pause", s.one("nats-2"))
				defer s.docker("unpause", s.one("nats-2"))
				s.pause(ctx, s.one("nats-3"), 8*time.Second)
			}},
		)
	}
	return faults
}

// kill ends a container with SIGKILL and starts it again after a moment.
func (s *stack) kill(ctx context.Context, id string) {
	s.docker("kill", id)
	_ = sleep(ctx, 3*time.Second)
	s.docker("start", id)
}

// pause lets a container stand still for a while.
func (s *stack) pause(ctx context.Context, id string, d time.Duration) {
	s.docker("pause", id)
	_ = sleep(ctx, d)
	s.docker("unpause", id)
}

// cut takes a container off a network for a while. It comes back under the name by
// which the others know it.
func (s *stack) cut(ctx context.Context, id, network, alias string, d time.Duration) {
	s.docker("network", "disconnect", s.project+"_"+network, id)
	_ = sleep(ctx, d)
	s.docker("network", "connect", "--alias", alias, s.project+"_"+network, id)
}
