package providertest_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// maxTern is how long a provider may be, with its harness. The guide promises it.
const maxTern = 200

func TestGuideIsTheExample(t *testing.T) {
	t.Parallel()
	guide, example := read(t, "../../docs/adding-a-provider.md"), read(t, "tern_test.go")
	blocks := strings.Split("\n"+guide, "\n```go\n")[1:]
	if len(blocks) < 5 {
		t.Errorf("got %d blocks of Go in the guide, want the whole client", len(blocks))
	}
	var lines int
	for i, b := range blocks {
		code, _, closed := strings.Cut(b, "\n```\n")
		if !closed {
			t.Errorf("block %d has no end", i+1)
		}
		lines += strings.Count(code, "\n") + 1
		if !strings.Contains(example, "\n"+code+"\n") {
			t.Errorf("block %d is not in tern_test.go as it stands:\n%s", i+1, code)
		}
	}
	// What the guide leaves out are the imports and a few blank lines.
	if all := strings.Count(example, "\n"); lines < all-40 {
		t.Errorf("the guide shows %d lines of %d, want all but the imports", lines, all)
	}
}

func TestExampleIsShort(t *testing.T) {
	t.Parallel()
	if n := strings.Count(read(t, "tern_test.go"), "\n"); n >= maxTern {
		t.Errorf("the example has %d lines, want fewer than %d", n, maxTern)
	}
}

// TestGuideNamesWhatIsThere follows the guide's paths.
func TestGuideNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	guide := read(t, "../../docs/adding-a-provider.md")
	for path, text := range map[string]string{
		"internal/config/provider.go": "var providers = ",
		"cmd/weir/service.go":         "func provider(",
		"docs/configuration.md":       "",
		"docs/rough-edges.md":         "",
		"docs/decisions/":             "",
		"CHANGELOG.md":                "## [Unreleased]",
	} {
		if !strings.Contains(guide, "`"+path+"`") {
			t.Errorf("the guide does not name %s", path)
		}
		if strings.HasSuffix(path, "/") {
			if _, err := os.Stat("../../" + path); err != nil {
				t.Errorf("the guide names %s: %v", path, err)
			}
			continue
		}
		if !strings.Contains(read(t, "../../"+path), text) {
			t.Errorf("%s: %q is not in it", path, text)
		}
	}
}

// read returns a file with line ends as Git keeps them.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
}
