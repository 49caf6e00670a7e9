// Package receiver shows how a publisher checks and reads the outcomes that Weir
// sends by HTTP. It needs nothing but the standard library; copy what you need.
package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how far the time of a request may be from ours: an older one may be a
// copy that somebody recorded.
const Tolerance = 5 * time.Minute

// Verify reports whether a request was signed with the secret, which begins with
// whsec_. What it covers is webhook-id, webhook-timestamp and the body, and nothing
// else: read no other header.
func Verify(secret string, header http.Header, body []byte, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return errors.New("the secret is not whsec_ and base64")
	}
	id, stamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" {
		return errors.New("webhook-id or webhook-timestamp is missing")
	}
	if now.Sub(time.Unix(seconds, 0)).Abs() > Tolerance {
		return errors.New("webhook-timestamp is too far from now")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	// While the secret is changed there are two signatures, one of each.
	for signature := range strings.FieldsSeq(header.Get("webhook-signature")) {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return nil
		}
	}
	return errors.New("no signature is of this secret")
}

// Outcome is what the body says, as far as a receiver needs it.
type Outcome struct {
	Lane         string    `json:"lane"`
	Kind         string    `json:"kind"` // created, ended, rejected, doubt, cancelled, expired or suppressed
	EventSource  string    `json:"event_source"`
	EventID      string    `json:"event_id"`
	N            int       `json:"n"` // the highest of an event tells its state
	At           time.Time `json:"at"`
	Conversation string    `json:"conversation"`
	Reason       string    `json:"reason"`
}

// Handler takes outcomes. note stores one durably, and nothing if it knows the id
// already: the same outcome may come more than once. Only after that is 2xx said.
func Handler(secret string, note func(id string, o Outcome) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "the body cannot be read", http.StatusBadRequest)
			return
		}
		if err := Verify(secret, r.Header, body, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var o Outcome
		if err := json.Unmarshal(body, &o); err != nil {
			http.Error(w, fmt.Sprintf("the body is no outcome: %v", err), http.StatusBadRequest)
			return
		}
		if err := note(r.Header.Get("webhook-id"), o); err != nil {
			http.Error(w, "it cannot be stored now", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
