package delivery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/schema"
)

// Key is a secret that outcomes are signed with.
type Key struct{ secret []byte }

// String keeps a key out of logs.
func (Key) String() string { return "[redacted]" }

// ParseKey reads a key in the form of Standard Webhooks.
func ParseKey(s schema.Secret) (Key, error) {
	raw, err := schema.Signing(s)
	return Key{raw}, err
}

// Sign returns the value of webhook-signature: one signature of each key.
func Sign(keys []Key, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(keys))
	for i, k := range keys {
		mac := hmac.New(sha256.New, k.secret)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
