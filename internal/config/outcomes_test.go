package config_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

var signing = schema.SigningPrefix + base64.StdEncoding.EncodeToString(make([]byte, 32))

func signingEnv(name string) string {
	if name == "SIGNING" {
		return signing
	}
	return hookEnv(name)
}

func withOutcomes(t *testing.T, block string) string {
	t.Helper()
	return edit(t, small, "limit: 20", "outcomes: "+block)
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for block, want := range map[string]config.Outcomes{
		"{url: 'https://crm.example.com/weir?a=b', secret: {env: SIGNING}}": {
			URL: "https://crm.example.com/weir?a=b", Timeout: 15 * time.Second, GiveUp: 72 * time.Hour},
		"{url: 'http://127.0.0.1:9/x', secret: {env: SIGNING}, kinds: [created, rejected], timeout: 1s, give_up: 480h}": {
			URL: "http://127.0.0.1:9/x", Kinds: []string{"created", "rejected"}, Timeout: time.Second, GiveUp: 480 * time.Hour},
	} {
		cfg, err := config.Parse("weir.yaml", []byte(withOutcomes(t, block)), signingEnv)
		if err != nil {
			t.Errorf("%s: %v", block, err)
			continue
		}
		got := cfg.Accounts[0].Lanes[0].Outcomes
		if got.URL != want.URL || got.Timeout != want.Timeout || got.GiveUp != want.GiveUp || !slices.Equal(got.Kinds, want.Kinds) || len(got.Secret.Values) != 1 {
			t.Errorf("%s: got %+v, want %+v", block, got, want)
		}
	}
}

// Two secrets are valid while they are changed, and the file is read again.
func TestOutcomesSecretInAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, signing+"\n"+signing+"\n")
	cfg, err := config.Parse("weir.yaml", []byte(withOutcomes(t, "{url: 'https://a.example', secret: {file: "+file+"}}")), signingEnv)
	if err != nil {
		t.Fatal(err)
	}
	secret := cfg.Accounts[0].Lanes[0].Outcomes.Secret
	if len(secret.Values) != 2 {
		t.Errorf("got %d secrets, want 2", len(secret.Values))
	}
	if err := os.WriteFile(file, []byte(signing), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secret.Read(); err != nil || len(got) != 1 {
		t.Errorf("read again: got %d secrets, %v; want 1", len(got), err)
	}
}

// TestOutcomesAreKeptWhileTheyAreTried refuses to try an outcome that is gone.
func TestOutcomesAreKeptWhileTheyAreTried(t *testing.T) {
	t.Parallel()
	text := "outcomes: {keep: 95h}\n" + withOutcomes(t, "{url: 'https://a.example', secret: {env: SIGNING}}")
	_, err := config.Parse("weir.yaml", []byte(text), signingEnv)
	const want = "weir.yaml:1:12: outcomes.keep: must be at least a day above outcomes.give_up of lane acme, which is 72h"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := config.Parse("weir.yaml", []byte(strings.Replace(text, "95h", "96h", 1)), signingEnv); err != nil {
		t.Errorf("a day above: got %v, want no error", err)
	}
}

func TestOutcomesProblems(t *testing.T) {
	t.Parallel()
	const path = "weir.yaml:6:5: lanes[0].outcomes"
	for block, want := range map[string][]string{
		"{}":                       {path + ".url: is missing", path + ".secret: is missing"},
		"{secret: {env: SIGNING}}": {".url: is missing"},
		"{url: 'http://crm.example.com', secret: {env: HOOK}}": {
			".url: must be https, or http on loopback", ".secret: the value found there must be whsec_ followed by the base64 of 24 to 64 bytes"},
		"{url: 'https://ann:pw@crm.example.com', secret: {env: SIGNING}}":                    {".url: must not hold credentials"},
		"{url: 'https://crm.example.com/#a', secret: {env: SIGNING}}":                        {".url: must have no fragment"},
		"{url: 'https://crm.example.com:99999', secret: {env: SIGNING}}":                     {".url: must have a port from 0 to 65535"},
		"{url: 'https:///x', secret: {env: SIGNING}}":                                        {".url: must have a host"},
		"{url: 'https://a.example/a b', secret: {env: SIGNING}}":                             {".url: must be a URL of at most 2048 bytes"},
		"{url: 'https://a.example', secret: {env: SIGNING}, kinds: []}":                      {".kinds: must have at least one kind"},
		"{url: 'https://a.example', secret: {env: SIGNING}, kinds: [dead, ended]}":           {".kinds[0]: must be created or ended or doubt or rejected or cancelled or expired or suppressed"},
		"{url: 'https://a.example', secret: {env: SIGNING}, kinds: [ended, created, ended]}": {".kinds[2]: is there already"},
		"{url: 'https://a.example', secret: {env: SIGNING}, timeout: 2m, give_up: 1s}": {
			".timeout: must be between 1s and 1m", ".give_up: must be between 1m"},
		"{url: 'https://a.example', secret: " + signing + "}": {".secret: must be {env: NAME} or {file: PATH}"},
	} {
		_, err := config.Parse("weir.yaml", []byte(withOutcomes(t, block)), signingEnv)
		if err == nil {
			t.Errorf("%s: got no error", block)
			continue
		}
		if strings.Contains(err.Error(), signing) || strings.Contains(err.Error(), "ann:pw") {
			t.Errorf("%s: the error repeats a secret:\n%v", block, err)
		}
		if got := strings.Count(err.Error(), "\n") + 1; got != len(want) {
			t.Errorf("%s: got %d problems, want %d:\n%v", block, got, len(want), err)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) && !strings.Contains(err.Error(), strings.TrimPrefix(w, path)) {
				t.Errorf("%s: got\n%v\nwant %s", block, err, w)
			}
		}
	}
}
