package oration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/schema"
)

// Request is the wire form of one item of POST /conversations. The engine's
// contact rules read number and channel here.
type Request struct {
	AgentID          string            `json:"agentId,omitempty"`
	ConversationType string            `json:"conversationType"`
	TelephonyType    string            `json:"telephonyType,omitempty"`
	ToPhoneNumber    string            `json:"toPhoneNumber,omitempty"`
	FromPhoneNumber  string            `json:"fromPhoneNumber,omitempty"`
	SIPTrunkAddress  string            `json:"sipTrunkAddress,omitempty"`
	CustomerID       string            `json:"customerId,omitempty"`
	Identifier       string            `json:"identifier,omitempty"`
	IgnoreDND        *bool             `json:"ignoreDND,omitempty"` // as the route says; Weir never adds it
	DynamicVariables map[string]string `json:"dynamicVariables,omitempty"`
}

// Bounds of one item. Oration documents none; these are far above any use and
// keep one event from filling a batch.
const (
	maxText      = 1 << 10  // bytes of a text field
	maxVariables = 100      // keys of dynamicVariables
	maxKey       = 128      // bytes of such a key
	maxItem      = 32 << 10 // bytes of all keys and values together
)

// telephony is the conversation type that dials.
const telephony = "telephony"

// toPhoneNumber is the field of the number to call.
const toPhoneNumber = "toPhoneNumber"

var e164 = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

// fields has a setter for each documented field.
var fields = map[string]func(r *Request, name string, v any) error{
	"agentId": func(r *Request, name string, v any) (err error) {
		r.AgentID, err = id(name, v)
		return err
	},
	"conversationType": func(r *Request, name string, v any) (err error) {
		r.ConversationType, err = oneOf(name, v, "chat", "web", telephony)
		return err
	},
	"telephonyType": func(r *Request, name string, v any) (err error) {
		r.TelephonyType, err = oneOf(name, v, "inbound", "outbound")
		return err
	},
	toPhoneNumber: func(r *Request, name string, v any) (err error) {
		r.ToPhoneNumber, err = number(name, v)
		return err
	},
	"fromPhoneNumber": func(r *Request, name string, v any) (err error) {
		r.FromPhoneNumber, err = text(name, v)
		return err
	},
	"sipTrunkAddress": func(r *Request, name string, v any) (err error) {
		r.SIPTrunkAddress, err = text(name, v)
		return err
	},
	"customerId": func(r *Request, name string, v any) (err error) {
		r.CustomerID, err = id(name, v)
		return err
	},
	"identifier": func(r *Request, name string, v any) (err error) {
		r.Identifier, err = identifier(name, v)
		return err
	},
	"ignoreDND": func(r *Request, name string, v any) error {
		b, ok := v.(bool)
		if !ok && v != nil {
			return refuse(name, "%s must be true or false.", name)
		}
		if ok {
			r.IgnoreDND = &b
		}
		return nil
	},
	"dynamicVariables": func(r *Request, name string, v any) (err error) {
		r.DynamicVariables, err = variables(name, v)
		return err
	},
}

// Prepare implements [consumer.Provider]. The request's Body is a [Request].
// An empty text or null counts as absent.
func (c *Client) Prepare(request map[string]any) (consumer.Request, error) {
	var r Request
	for _, name := range slices.Sorted(maps.Keys(request)) {
		set, ok := fields[name]
		if !ok {
			return consumer.Request{}, refuse(shown(name), "%s is not a field of an Oration conversation.", shown(name))
		}
		if err := set(&r, name, request[name]); err != nil {
			return consumer.Request{}, err
		}
	}
	switch {
	case r.ConversationType == "":
		return consumer.Request{}, refuse("conversationType", "conversationType is missing; it must be chat, web or telephony.")
	case r.ConversationType == telephony && r.ToPhoneNumber == "":
		return consumer.Request{}, refuse(toPhoneNumber, "There is no phone number to call: toPhoneNumber is empty.")
	}
	to := consumer.Recipient{Channel: r.ConversationType, Number: r.ToPhoneNumber, Field: toPhoneNumber}
	return consumer.Request{Pair: r.pair(), To: to, Body: r}, nil
}

// Dials implements [consumer.Dialer]. The number is the same whatever the type of the
// conversation.
func (c *Client) Dials(map[string]any) string { return toPhoneNumber }

// pair returns what a result that echoes nothing of ours can be matched by.
// Items that have nothing of the kind share one pair, so that no batch holds two
// of them.
func (r Request) pair() string {
	agent := strings.ToLower(r.AgentID)
	switch {
	case r.ToPhoneNumber != "":
		return "number " + digits(r.ToPhoneNumber) + " agent " + agent
	case r.CustomerID != "":
		return "customer " + strings.ToLower(r.CustomerID) + " agent " + agent
	default:
		return "unnamed"
	}
}

// refuse returns the refusal of a request for the sake of one field.
func refuse(field, format string, args ...any) error {
	return &schema.Refusal{Class: schema.ClassRequest, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// shown returns a key from outside, fit for a message.
func shown(key string) string {
	return wire.Bounded(schema.Mask(key), 64)
}

// text checks a text field.
func text(name string, v any) (string, error) {
	s, ok := v.(string)
	switch {
	case v == nil:
		return "", nil
	case !ok:
		return "", refuse(name, "%s must be text.", name)
	case len(s) > maxText:
		return "", refuse(name, "%s is longer than %d bytes.", name, maxText)
	case !utf8.ValidString(s):
		return "", refuse(name, "%s is not valid UTF-8 text.", name)
	}
	return s, nil
}

// oneOf checks a field with a closed list of values.
func oneOf(name string, v any, allowed ...string) (string, error) {
	s, err := text(name, v)
	if err == nil && s != "" && !slices.Contains(allowed, s) {
		return "", refuse(name, "%s must be %s.", name, strings.Join(allowed, " or "))
	}
	return s, err
}

// id checks a field that holds a UUID.
func id(name string, v any) (string, error) {
	s, err := text(name, v)
	if err != nil || s == "" {
		return "", err
	}
	// Parse takes other spellings too; the API documents this one.
	if _, err := uuid.Parse(s); err != nil || len(s) != 36 {
		return "", refuse(name, "%s must be a UUID, such as 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7.", name)
	}
	return s, nil
}

// identifier checks the caller's own customer key, which many CRMs hold as a
// number.
func identifier(name string, v any) (string, error) {
	switch v.(type) {
	case int, int64, uint64, json.Number:
		return fmt.Sprint(v), nil
	default:
		return text(name, v)
	}
}

// number checks the number to call. Only the international form is taken: a
// guess about spaces, a trunk zero or a country could call a stranger.
func number(name string, v any) (string, error) {
	s, err := text(name, v)
	if err != nil || strings.TrimSpace(s) == "" {
		return "", err
	}
	if !e164.MatchString(s) {
		return "", refuse(name, "The phone number %s is not in international form; it must look like +14155550123.", schema.MaskNumber(s))
	}
	return s, nil
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

// variables turns dynamicVariables into texts, the only values that every
// version of the API is known to take. Weir's own keys are left out: they are
// set when the request is sent.
func variables(name string, v any) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, refuse(name, "%s must be an object.", name)
	}
	if len(m) > maxVariables {
		return nil, refuse(name, "%s has more than %d entries.", name, maxVariables)
	}
	out := make(map[string]string, len(m))
	size := 0
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if key == wire.KeyIntent || key == wire.KeyAttempt {
			continue
		}
		field := func() string { return name + "." + shown(key) }
		if key == "" || len(key) > maxKey || !utf8.ValidString(key) {
			return nil, refuse(field(), "%s has a key that is empty, longer than %d bytes or not UTF-8.", name, maxKey)
		}
		s, err := variable(m[key])
		if err != nil {
			return nil, refuse(field(), "%s cannot be sent as text.", field())
		}
		if size += len(key) + len(s); size > maxItem {
			return nil, refuse(name, "%s is larger than %d bytes.", name, maxItem)
		}
		out[key] = s
	}
	return out, nil
}

// variable returns a value as text: a text as it is, null as the empty text,
// everything else as compact JSON.
func variable(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		if !utf8.ValidString(v) {
			return "", errors.New("not UTF-8")
		}
		return v, nil
	case float64:
		// JSON would write a large whole number with an exponent.
		if v == float64(int64(v)) && v > -1e15 && v < 1e15 {
			return strconv.FormatInt(int64(v), 10), nil
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	// A value that encodes itself as a text (a time) is sent without quotes.
	var s string
	if json.Unmarshal(b.Bytes(), &s) == nil {
		return s, nil
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
