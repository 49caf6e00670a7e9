package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/weirhq/weir/schema/plainjson"
)

// Object is a JSON object whose members are looked at one by one, so that one
// of an unexpected type does not hide the others.
type Object map[string]json.RawMessage

// AsObject returns raw as an object; nil if it is none. Its members share raw.
func AsObject(raw []byte) Object {
	if raw = bytes.TrimLeft(raw, " \t\r\n"); len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	o := make(Object)
	if plainjson.Members(raw, func(name []byte, value json.RawMessage) bool { o[string(name)] = value; return true }) {
		return o
	}
	return asObject(raw)
}

// asObject is AsObject by the standard decoder.
func asObject(raw []byte) (o Object) {
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// Text returns a member that is a text or a number, as text.
func (o Object) Text(key string) string {
	raw := o[key]
	if !Present(raw) {
		return ""
	}
	if s, ok := plainjson.Text(raw); ok {
		return s
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// unquote returns the text that raw is, and whether it is one.
func unquote(raw json.RawMessage) ([]byte, bool) {
	n := len(raw)
	if n < 2 || raw[0] != '"' || raw[n-1] != '"' {
		return nil, false
	}
	text := make([]byte, 0, n-2)
	for i := 1; i < n-1; i++ {
		c := raw[i]
		if c == '\\' && i+1 < n-1 && (raw[i+1] == '"' || raw[i+1] == '\\') {
			i++
			c = raw[i]
		} else if c < ' ' || c > '~' || c == '"' || c == '\\' { // not plain
			var s string
			err := json.Unmarshal(raw, &s)
			return []byte(s), err == nil
		}
		text = append(text, c)
	}
	return text, true
}

// Present reports whether a member is there and not null.
func Present(raw json.RawMessage) bool {
	return len(raw) > 0 && string(raw) != "null"
}

// Time returns a member that is a time; zero if it is none.
func (o Object) Time(key string) time.Time {
	t, err := time.Parse(time.RFC3339, o.Text(key))
	if err != nil {
		return time.Time{}
	}
	return t
}

// The names under which each conversation carries its intent and attempt, so
// that a later answer can be recognised. They are set last, over whatever a
// route or an event says.
const (
	KeyIntent  = "weir_intent"
	KeyAttempt = "weir_attempt"
)

// Echo returns the intent and attempt in the values that a conversation
// carries: an object, or a text that holds one. An attempt that is no number is
// -1, which no claim has; one that is absent is 0.
func Echo(raw json.RawMessage) (intent string, attempt int) {
	if text, ok := unquote(raw); ok {
		raw = text
	}
	vars := AsObject(raw)
	intent = Cut(vars.Text(KeyIntent), MaxID)
	if Present(vars[KeyAttempt]) {
		attempt = -1
		if n, err := json.Number(vars.Text(KeyAttempt)).Int64(); err == nil && n >= 0 && n <= 1<<31 {
			attempt = int(n)
		}
	}
	return intent, attempt
}

// MaxID bounds an id, in bytes. The documented ones have 36.
const MaxID = 256

// UsableID returns an id that can be kept and asked for again, else nothing.
func UsableID(id string) string {
	if len(id) > MaxID || id == "." || id == ".." || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return id
}
