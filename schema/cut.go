package schema

import (
	"strings"
	"unicode/utf8"
)

// Cut shortens s to at most limit bytes of valid UTF-8, an ellipsis of 3 bytes
// among them; limit is at least 3. What is no UTF-8 in s is replaced.
func Cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	const dots = "…"
	end := limit - len(dots)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + dots
}
