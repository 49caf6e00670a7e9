package schema

import (
	"fmt"
	"log/slog"
)

// redacted stands for a secret wherever one would be shown.
const redacted = "[redacted]"

// Secret is a credential. It shows itself as [redacted] to every verb of fmt,
// to JSON, YAML, XML, zerolog and slog; only Reveal returns it. It is read like
// any string.
//
// Package fmt cannot call a method on an unexported struct field, so a struct
// that may be printed keeps its Secret in an exported one. Package
// encoding/json writes any string type as itself when it is the key of a map: a
// Secret is a value, never a key.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter for every verb, %q and %x included.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText implements encoding.TextMarshaler, which JSON, XML and zerolog
// use.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML implements the YAML package's Marshaler.
func (Secret) MarshalYAML() (any, error) { return redacted, nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
