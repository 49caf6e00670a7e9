package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

var listensOn = regexp.MustCompile(`url: (https?://[a-z0-9.]+:\d+/api/v2)`)

// simulate runs weir simulate and returns the provider's URL, and a function
// that ends it and returns what it printed.
func simulate(t *testing.T, args ...string) (url string, stop func() (stdout, stderr string)) {
	t.Helper()
	var out, said syncBuffer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		args := append([]string{"simulate", "--listen", "127.0.0.1:0"}, args...)
		done <- run(ctx, args, strings.NewReader(""), &out, &said, func(string) string { return "" })
	}()
	t.Cleanup(cancel)
	await(t, patience, "weir simulate to listen", func() bool {
		m := listensOn.FindStringSubmatch(out.String() + said.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	return url, func() (string, string) {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("weir simulate: got error %v, want none", err)
		}
		return out.String(), said.String()
	}
}

// call asks the provider for a conversation and returns the answer's status.
func call(t *testing.T, url, number string) int {
	t.Helper()
	body := `{"conversations":[{"agentId":"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7","conversationType":"telephony","toPhoneNumber":"` + number + `","dynamicVariables":{"weir_intent":"i","weir_attempt":"1"}}]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/conversations", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestSimulate(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "calls.ndjson")
	url, stop := simulate(t, "--limit", "2", "--scale", "0.01", "--overflow", "whole", "--log", log)
	var statuses []int
	for _, number := range []string{"+14155550101", "+14155550102", "+14155550103"} {
		statuses = append(statuses, call(t, url, number))
	}
	if want := []int{200, 200, 429}; !cmp.Equal(want, statuses) {
		t.Errorf("statuses: got %v, want %v", statuses, want)
	}
	stdout, _ := stop()
	contains(t, stdout,
		"Oration, 2 slots", "Anyreach, 10 calls", "the longest call takes 16h40m0s at this scale: set max_call above it",
		"conversations made      2        0\n", "hidden answers          0        0\n", "doubled                 1        0\n",
		"highest slots in use    2 of 2   0 of 10\n", "answers 429             1        0\n")
	written, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(written), `"event":"made"`); got != 2 {
		t.Errorf("lines of conversations made: got %d, want 2", got)
	}
	if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log file: got %v (%v), want mode 0600", info, err)
	}

	url, stop = simulate(t, "--log", log, "--output", "json")
	call(t, url, "+14155550104")
	stdout, stderr := stop()
	contains(t, stderr, "the longest call takes 30s")
	reports := decoded[[]map[string]any](t, stdout)
	if len(reports) != 2 || reports[0]["provider"] != "oration" || reports[1]["provider"] != "anyreach" {
		t.Fatalf("reports: got %v, want one of each provider", reports)
	}
	report := reports[0]
	if report["conversations"] != 1.0 || report["limit"] != 20.0 || report["hidden"] == nil {
		t.Errorf("report: got %v, want 1 conversation of limit 20", report)
	}
	if written, err = os.ReadFile(log); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(written), `"event":"made"`); got != 3 {
		t.Errorf("lines of conversations made after a second run: got %d, want 3", got)
	}
}

// With a certificate it may be where others reach it, and weir calls it if the
// folder is among those that have its roots of trust.
func TestSimulateWithTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tlsDir := filepath.Join(dir, "tls")
	url, stop := simulate(t, "--listen", "0.0.0.0:0", "--tls", tlsDir, "--scale", "0.01")
	defer stop()
	base := strings.TrimSuffix(url, "/api/v2")
	if !strings.HasPrefix(url, "https://localhost:") {
		t.Errorf("url: got %s, want https and the first name of the certificate", url)
	}
	port := base[strings.LastIndex(base, ":")+1:]
	alive := []string{"simulate", "--alive", "--listen", "0.0.0.0:" + port}
	await(t, patience, "the one that listens to answer", func() bool { // it is given three seconds
		_, _, err := weir(t.Context(), nil, append(slices.Clone(alive), "--tls", tlsDir)...)
		return err == nil
	})
	other := filepath.Join(dir, "other")
	if _, err := simulator.Certificate(other, []string{"localhost"}); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"certificate":                 append(slices.Clone(alive), "--tls", other),
		"see that weir simulate runs": append(slices.Clone(alive), "--tls", dir),
		"and not as weir simulate":    alive,
	} {
		var err error
		await(t, patience, "an answer", func() bool {
			_, _, err = weir(t.Context(), nil, args...)
			return !errors.Is(err, context.DeadlineExceeded)
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("alive %v: got error %v, want one with %q", args[4:], err, name)
		}
	}

	file := filepath.Join(dir, "weir.yaml")
	yaml := "embedded: {dir: store}\nlanes: [{name: acme, provider: oration, url: '" + url + "', auth: {bearer: {env: KEY}}, limit: 1, routes: [{type: lead.created, request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: '${ data.phone }'}}]}]\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{tlsDir: "answers and takes the credentials", other: "unknown authority"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "check", "-c", file)
		cmd.Env = append(os.Environ(), asWeir+"=1", "KEY=k", "SSL_CERT_DIR="+dir)
		out, _ := cmd.CombinedOutput() // what it comes to is in the text
		if !strings.Contains(string(out), want) {
			t.Errorf("weir check with SSL_CERT_DIR=%s: got no %q in:\n%s", dir, want, out)
		}
	}
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		args       []string
		code       int
	}{
		{"a public address", "0.0.0.0:0 is not a loopback address", []string{"--listen", "0.0.0.0:0"}, 2},
		{"no name", "--tls-name", []string{"--tls", "x", "--tls-name", ""}, 2},
		{"a folder that cannot be", "name a folder that can be written", []string{"--tls", "/dev/null/x"}, 1},
		{"nobody there", "no answer", []string{"--alive", "--listen", "127.0.0.1:1"}, 1},
		{"no address", "--listen", []string{"--listen", "nowhere"}, 2},
		{"a scale out of range", "scale", []string{"--scale", "0.0001"}, 2},
		{"an unknown word", "--faults", []string{"--faults", "many"}, 2},
		{"a log that cannot be written", "open the log", []string{"--log", "/nosuch/dir/log"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := weir(t.Context(), nil, append([]string{"simulate"}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want one with %q", err, tt.want)
			}
			if code := exitCode(err, &syncBuffer{}); code != tt.code {
				t.Errorf("exit code: got %d, want %d", code, tt.code)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]float64{"none": 0, "some": 0.05, "worst": 0.25} {
		f := faults(word)
		sum := f.Refuse503 + f.HTML502 + f.ResetEarly + f.Accepted500 + f.AcceptedHang + f.Cut + f.Reset + f.DropResult + f.ItemError + f.Slow
		if diff := sum - want; diff > 1e-9 || diff < -1e-9 {
			t.Errorf("faults %s: got %v in all, want %v", word, sum, want)
		}
	}
}
