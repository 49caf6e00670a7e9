package schema

import (
	"encoding/base64"
	"errors"
	"strings"
)

// SigningPrefix begins a secret in the form of Standard Webhooks.
const SigningPrefix = "whsec_"

// Bounds of such a secret, in bytes.
const (
	leastSigning = 24
	mostSigning  = 64
)

// ErrSigning is a signing secret of another form. It says nothing of the secret.
var ErrSigning = errors.New("must be whsec_ followed by the base64 of 24 to 64 bytes")

// Signing returns the bytes of a secret in the form of Standard Webhooks.
func Signing(s Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(s.Reveal(), SigningPrefix)
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(raw) < leastSigning || len(raw) > mostSigning {
		return nil, ErrSigning
	}
	return raw, nil
}
