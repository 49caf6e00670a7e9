package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompletionWords(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	env := map[string]string{"WEIR_CONFIG": p.yaml}
	for line, want := range map[string]string{
		"ser":                               "serve",
		"lane ":                             "pause resume",
		"lane pause s":                      "sales support",
		"lane pause sales su":               "support",
		"dead list --lane ":                 "sales support",
		"dead list --lane=sa":               "--lane=sales",
		"--output ":                         "json table",
		"--output = j":                      "json",
		"--output =":                        "json table",
		"lanes --wat":                       "--watch",
		"lanes --output j":                  "json",
		"lanes --no-such ":                  "",
		"completion ":                       "bash fish zsh",
		"lanes -c /nowhere.yaml --lan":      "",
		"dead list -c /nowhere --lane ":     "",
		"publish -c " + p.yaml + " --lane ": "sales support",
	} {
		stdout, _, err := weir(t.Context(), env, append([]string{completeWord}, strings.Split(line, " ")...)...)
		if got := strings.Join(strings.Fields(stdout), " "); err != nil || got != want {
			t.Errorf("weir %s<TAB>: got %q, %v; want %q", line, got, err, want)
		}
	}
}

// The script of bash is run by bash.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "weir")); err != nil {
		t.Fatal(err)
	}
	script := `source <(weir completion bash)
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir; echo "${COMPREPLY[*]}" | tr '\n' ' '; echo; }
ask weir lane pa
ask weir lane pause s
ask weir --output = j
ask weir explain ./no
complete -p weir`
	cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-c", script)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), asWeir + "=1", "WEIR_CONFIG=" + p.yaml}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "pause \nsales support \njson \n \ncomplete -o default -F _weir weir\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
