package anyreach

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/schema"
)

// Bounds of a request. Anyreach documents none; these are far above any use and
// keep one event from filling the memory.
const (
	maxText     = 1 << 10   // bytes of a text field
	maxAddress  = 254       // bytes of an e-mail address, which no longer one can be sent to
	maxContext  = 32 << 10  // bytes of initial_context
	maxMetadata = 32 << 10  // bytes of custom_metadata, as JSON
	maxConfig   = 256 << 10 // bytes of agent_config, as JSON: it holds whole prompts
	maxKeys     = 2000      // keys of either, at any depth
	maxKey      = 128       // bytes of such a key
	maxDepth    = 32        // objects and lists inside each other
)

var (
	e164 = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)
	// mailbox is the form of an address that can be meant: one at sign, no space,
	// nothing that would make it a list or a name with an address.
	mailbox = regexp.MustCompile(`^[^\s@<>()\[\],;:"\\]+@[^\s@<>()\[\],;:"\\.]+(?:\.[^\s@<>()\[\],;:"\\.]+)+$`)
	whole   = regexp.MustCompile(`^-?\d{1,20}$`)
)

// shown returns a key from outside, fit for a message.
func shown(key string) string {
	return wire.Bounded(schema.Mask(key), 64)
}

// text checks a text field of at most limit bytes.
func text(name string, v any, limit int) (string, error) {
	s, ok := v.(string)
	switch {
	case v == nil:
		return "", nil
	case !ok:
		return "", refuse(name, "%s must be text.", name)
	case len(s) > limit:
		return "", refuse(name, "%s is longer than %d bytes.", name, limit)
	case !utf8.ValidString(s):
		return "", refuse(name, "%s is not valid UTF-8 text.", name)
	}
	return s, nil
}

// line checks a text field without line ends and other control characters, which
// could begin another field of an e-mail's head.
func line(name string, v any) (string, error) {
	s, err := text(name, v, maxText)
	if err == nil && strings.ContainsFunc(s, unicode.IsControl) {
		return "", refuse(name, "%s holds a line end or another control character.", name)
	}
	return s, err
}

// oneOf checks a field with a closed list of values.
func oneOf(name string, v any, allowed ...string) (string, error) {
	s, err := text(name, v, maxText)
	if err == nil && s != "" && !slices.Contains(allowed, s) {
		return "", refuse(name, "%s must be %s.", name, strings.Join(allowed, " or "))
	}
	return s, err
}

// identifier checks an id, which many CRMs hold as a number. Only a whole one
// has but one spelling.
func identifier(name string, v any) (string, error) {
	switch n := v.(type) {
	case int, int64, uint64:
		return fmt.Sprint(n), nil
	case json.Number:
		if !whole.MatchString(n.String()) {
			return "", refuse(name, "%s must be text or a whole number.", name)
		}
		return n.String(), nil
	}
	s, err := line(name, v)
	if err != nil || strings.TrimSpace(s) == "" {
		return "", err
	}
	return s, nil
}

// number checks a telephone number. Only the international form is taken: a
// guess about spaces, a trunk zero or a country could call a stranger.
func number(name string, v any) (string, error) {
	s, err := text(name, v, maxText)
	if err != nil || strings.TrimSpace(s) == "" {
		return "", err
	}
	if !e164.MatchString(s) {
		return "", refuse(name, "The phone number %s is not in international form; it must look like +14155550123.", schema.MaskNumber(s))
	}
	return s, nil
}

// address checks an e-mail address.
func address(name string, v any) (string, error) {
	s, err := text(name, v, maxAddress)
	if err != nil || strings.TrimSpace(s) == "" {
		return "", err
	}
	if !mailbox.MatchString(s) || strings.ContainsFunc(s, unseen) {
		return "", refuse(name, "%s is not an e-mail address; it must look like ana@example.com.", name)
	}
	return s, nil
}

// unseen reports whether a character is none that a person can see.
func unseen(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }

// version checks the version of an agent: a positive whole number, or latest.
func version(name string, v any) (json.RawMessage, error) {
	var n string
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		switch v {
		case "":
			return nil, nil
		case "latest":
			return json.RawMessage(`"latest"`), nil
		}
	case int, int64, uint64, json.Number:
		n = fmt.Sprint(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<31 {
			n = fmt.Sprintf("%.0f", v)
		}
	}
	if i, err := json.Number(n).Int64(); err != nil || i < 1 || i >= 1<<31 {
		return nil, refuse(name, "%s must be a positive whole number or latest.", name)
	}
	return json.RawMessage(n), nil
}

// digits returns the ASCII digits of s.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// metadata checks custom_metadata. Weir's own keys are left out: they are set
// when the request is sent.
func metadata(name string, v any) (map[string]json.RawMessage, error) {
	raw, err := object(name, v, maxMetadata)
	if err != nil || raw == nil {
		return nil, err
	}
	m := map[string]json.RawMessage(wire.AsObject(raw))
	delete(m, wire.KeyIntent)
	delete(m, wire.KeyAttempt)
	return m, nil
}

// object returns a JSON object of at most limit bytes as JSON, which shares
// nothing with v; nil if there is none.
func object(name string, v any, limit int) (json.RawMessage, error) {
	if v == nil || v == "" {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, refuse(name, "%s must be an object.", name)
	}
	keys := maxKeys
	if err := plain(m, maxDepth, &keys); err != nil {
		return nil, refuse(name, "%s %v.", name, err)
	}
	raw, err := json.Marshal(m)
	switch {
	case err != nil: // whose text may repeat a value
		return nil, refuse(name, "%s holds a value that JSON cannot carry.", name)
	case len(raw) > limit:
		return nil, refuse(name, "%s is larger than %d bytes.", name, limit)
	}
	return raw, nil
}

// plain checks what JSON would silently change or carry without end. keys is how
// many more may come.
func plain(v any, depth int, keys *int) error {
	switch v := v.(type) {
	case string:
		if !utf8.ValidString(v) {
			return errors.New("holds text that is not valid UTF-8")
		}
	case []any:
		if depth == 0 {
			return fmt.Errorf("has more than %d objects and lists inside each other", maxDepth)
		}
		for _, inner := range v {
			if err := plain(inner, depth-1, keys); err != nil {
				return err
			}
		}
	case map[string]any:
		if depth == 0 {
			return fmt.Errorf("has more than %d objects and lists inside each other", maxDepth)
		}
		if *keys -= len(v); *keys < 0 {
			return fmt.Errorf("has more than %d keys", maxKeys)
		}
		return members(v, depth, keys)
	}
	return nil
}

// members checks the keys and values of an object.
func members(m map[string]any, depth int, keys *int) error {
	for key, inner := range m {
		if len(key) > maxKey || !utf8.ValidString(key) {
			return fmt.Errorf("has a key that is longer than %d bytes or not UTF-8", maxKey)
		}
		if err := plain(inner, depth-1, keys); err != nil {
			return err
		}
	}
	return nil
}
