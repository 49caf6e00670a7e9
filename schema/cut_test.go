package schema_test

import (
	"testing"

	"github.com/weirhq/weir/schema"
)

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in    string
		limit int
		want  string
	}{
		{"short", 5, "short"},
		{"longer", 5, "lo…"},
		{"äöü", 5, "ä…"},
		{"日本語", 6, "日…"},
		{"a\xff", 9, "a\uFFFD"},
	} {
		if got := schema.Cut(tc.in, tc.limit); got != tc.want || len(got) > tc.limit {
			t.Errorf("Cut(%q, %d): got %q (%d bytes), want %q", tc.in, tc.limit, got, len(got), tc.want)
		}
	}
}
