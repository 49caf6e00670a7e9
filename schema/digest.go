package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Digest returns the hexadecimal SHA-256 of what the event says: its type and
// its data. Two events of one id with different digests are a conflict.
//
// JSON data counts by its value: the order of members, white space, the
// spelling of strings and numbers (1.0 and 1, 1e2 and 100) make no difference,
// nor do the mode and any attribute but the type. Other data counts byte for
// byte. The ledger keeps digests: the form must never change.
func Digest(e event.Event) string { return NewReading(e).Digest() }

// Digest is the function Digest of the event.
func (r *Reading) Digest() string {
	b := make([]byte, 0, len(r.Type())+len(r.Data())+64)
	b = append(appendText(b, r.Type()), '\n')
	b = appendData(b, r)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func appendData(b []byte, r *Reading) []byte {
	data := r.Data()
	if len(data) == 0 || !isJSON(r.DataContentType()) {
		return append(b, data...)
	}
	v, err := r.json()
	if err != nil {
		return append(b, data...)
	}
	return appendCanonical(b, v)
}

// appendCanonical appends the one spelling of a value that parseJSON returned.
func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		var room [16]string // of most objects it is enough
		for i, name := range appendNames(room[:0], v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, name), ':')
			b = appendCanonical(b, v[name])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, item)
		}
		return append(b, ']')
	case json.Number:
		return append(b, canonicalNumber(v.String())...)
	default:
		return appendScalar(b, v)
	}
}

// canonicalNumber writes a JSON number as its significant digits and a power of
// ten (-1500.0 as -15e2), so that equal values are equal texts whatever their
// size. Zero has no sign.
func canonicalNumber(s string) string {
	s = strings.ToLower(s)
	digits, exponentText, _ := strings.Cut(s, "e")
	exponent := 0
	if exponentText != "" {
		var err error
		if exponent, err = strconv.Atoi(exponentText); err != nil {
			return s // parseJSON has bounded the exponent: not reached
		}
	}
	digits, negative := strings.CutPrefix(digits, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent -= len(fraction)
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	exponent += len(digits) - len(short)
	if negative {
		short = "-" + short
	}
	return short + "e" + strconv.Itoa(exponent)
}
