package wire

import (
	"encoding/json"
	"strings"
	"time"
)

// Object is a JSON object whose members are looked at one by one, so that one
// of an unexpected type does not hide the others.
type Object map[string]json.RawMessage

// AsObject returns raw as an object; nil if it is none.
func AsObject(raw []byte) Object {
	var o Object
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// Text returns a member that is a text or a number, as text.
func (o Object) Text(key string) string {
	raw := o[key]
	if len(raw) == 0 {
		return ""
	}
	if n := len(raw); n >= 2 && raw[0] == '"' && raw[n-1] == '"' && plain(raw[1:n-1]) {
		return string(raw[1 : n-1])
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

// plain reports whether a text of JSON stands for itself: it needs no decoder.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
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
	var encoded string
	if json.Unmarshal(raw, &encoded) == nil {
		raw = []byte(encoded)
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
