package journal

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/schema"
)

// Masked returns a writer of JSON lines that masks each text in them: telephone
// numbers, addresses and credentials that somebody else's error may hold. Names of
// members, numbers and UUIDs stay. Each Write is one line, as zerolog makes them.
func Masked(w io.Writer) io.Writer { return masked{w} }

type masked struct{ w io.Writer }

// Write implements io.Writer.
func (m masked) Write(line []byte) (int, error) {
	if _, err := m.w.Write(maskLine(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// maskLine masks the texts of one line of JSON.
func maskLine(line []byte) []byte {
	var out []byte // nil as long as nothing was masked
	kept := 0
	for at := 0; at < len(line); {
		if line[at] != '"' {
			at++
			continue
		}
		end := closing(line, at)
		if end < len(line) && line[end] == ':' { // a member's name
			at = end
			continue
		}
		if text, changed := maskText(line[at:end]); changed {
			out = append(append(out, line[kept:at]...), text...)
			kept = end
		}
		at = end
	}
	if out == nil {
		return line
	}
	return append(out, line[kept:]...)
}

// closing is where the text ends that begins at a quotation mark.
func closing(line []byte, at int) int {
	for i := at + 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(line)
}

// maskText masks a JSON text with its quotation marks.
func maskText(quoted []byte) ([]byte, bool) {
	if !suspicious(quoted) {
		return nil, false
	}
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return nil, false
	}
	hidden := mask(text)
	if hidden == text {
		return nil, false
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(hidden) != nil {
		return []byte(`"[redacted]"`), true
	}
	return bytes.TrimRight(b.Bytes(), "\n"), true
}

// mask is schema.Mask for texts of which most need none: it takes microseconds, and
// each line has many.
func mask(text string) string {
	if !suspicious([]byte(text)) || harmless(text) {
		return text
	}
	return schema.Mask(text)
}

// harmless reports whether a text is nothing but a UUID, the id of a trace, or a time.
func harmless(text string) bool {
	if len(text) == 32 && strings.Trim(text, "0123456789abcdef") == "" {
		return true
	}
	if len(text) == 36 && uuid.Validate(text) == nil {
		return true
	}
	_, err := time.Parse(time.RFC3339, text)
	return err == nil && len(text) <= len(time.RFC3339Nano)
}

// words are those that a credential stands behind.
var words = []string{"key", "token", "secret", "passw", "credential", "authorization", "bearer", "basic", "digest", "-----begin", "eyj", "://", "%40", "akia", "whsec", "ghp", "gho", "ghs", "pat", "xox", "sk_", "sk-", "pk_", "pk-", "rk_", "rk-", "ak_", "ak-"}

// suspicious reports whether there may be something in a text that schema.Mask takes
// out: seven digits, an at sign, a letter or digit that is not ASCII, or one of words.
func suspicious(text []byte) bool {
	digits := 0
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '@', c >= 0x80, c == '\\':
			return true
		}
	}
	if digits >= 7 {
		return true
	}
	low := strings.ToLower(string(text))
	for _, word := range words {
		if strings.Contains(low, word) {
			return true
		}
	}
	return len(text) >= 52 // a seed may have few digits
}
