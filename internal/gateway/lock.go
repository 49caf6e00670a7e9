package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/schema"
)

// lock lets in who shows what a lane's CRM must show. The mark is that of the
// signature; zero where there is none, or one that is good for ever.
type lock func(r *http.Request, body []byte, now time.Time) (mark, *problem)

// mark is a signature that was good, and until when it would be let in again.
type mark struct {
	seal  seal
	until time.Time
}

type seal [sha256.Size]byte

// locked is the answer to who may not come in.
func locked(detail string) (mark, *problem) {
	return mark{}, &problem{Status: http.StatusUnauthorized, Title: "Unauthorized", Detail: detail}
}

// same compares two texts in a time that tells nothing of either.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// sole returns a header that is there once.
func sole(h http.Header, name string) (string, bool) {
	values := h.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

// basicLock asks for a user and a password.
func basicLock(user string, password schema.Secret) lock {
	return func(r *http.Request, _ []byte, _ time.Time) (mark, *problem) {
		_, once := sole(r.Header, "Authorization")
		gotUser, gotPassword, ok := r.BasicAuth()
		goodUser, goodPassword := same(gotUser, user), same(gotPassword, password.Reveal())
		if !once || !ok || !goodUser || !goodPassword {
			return locked("This is not the webhook's user and password.")
		}
		return mark{}, nil
	}
}

// keyLock asks for a key in a header.
func keyLock(header string, key schema.Secret) lock {
	return func(r *http.Request, _ []byte, _ time.Time) (mark, *problem) {
		got, once := sole(r.Header, header)
		if good := same(got, key.Reveal()); !once || !good {
			return locked("The header " + header + " does not have the right key.")
		}
		return mark{}, nil
	}
}

// HMAC is a signature in a header.
type HMAC struct {
	Secret    schema.Secret
	Header    string
	Algorithm string        // sha256 or sha512
	Encoding  string        // hex or base64
	Prefix    string        // before it in the header, such as sha256=
	Timestamp string        // the header that has the time, in seconds or milliseconds since 1970; empty: none
	Tolerance time.Duration // how far that may be from now
	Signed    string        // what is signed: a text with {body} and {timestamp}
}

func (h HMAC) lock() lock {
	return h.over(func(_ *http.Request, body, stamp string) string {
		return strings.NewReplacer("{body}", body, "{timestamp}", stamp).Replace(h.Signed)
	})
}

// over is a lock for a signature over a text.
func (h HMAC) over(text func(r *http.Request, body, stamp string) string) lock {
	return func(r *http.Request, body []byte, now time.Time) (mark, *problem) {
		shown, ok := sole(r.Header, h.Header)
		if !ok {
			return locked("Send the header " + h.Header + " once.")
		}
		stamp := ""
		if h.Timestamp != "" {
			if stamp, ok = sole(r.Header, h.Timestamp); !ok {
				return locked("Send the header " + h.Timestamp + " once.")
			}
		}
		mac := hmac.New(h.hash(), []byte(h.Secret.Reveal()))
		_, _ = mac.Write([]byte(text(r, string(body), stamp))) // never fails
		sum := mac.Sum(nil)
		if !hmac.Equal(h.decode(shown), sum) {
			return locked("The signature in " + h.Header + " is not that of this request.")
		}
		if h.Timestamp == "" {
			return mark{}, nil
		}
		at, ok := moment(stamp)
		if !ok {
			return locked("The time in " + h.Timestamp + " cannot be read.")
		}
		if age := now.Sub(at); age > h.Tolerance || age < -h.Tolerance {
			return locked("The signature is of another time: at most " + h.Tolerance.String() + " may lie between. Compare the clocks.")
		}
		return mark{sha256.Sum256(sum), at.Add(h.Tolerance)}, nil
	}
}

func (h HMAC) hash() func() hash.Hash {
	if h.Algorithm == "sha512" {
		return sha512.New
	}
	return sha256.New
}

// decode returns the bytes of a signature, or nothing.
func (h HMAC) decode(shown string) []byte {
	shown, ok := strings.CutPrefix(shown, h.Prefix)
	if !ok {
		return nil
	}
	decode := base64.StdEncoding.DecodeString
	if h.Encoding == "hex" {
		decode = hex.DecodeString
	}
	b, err := decode(shown)
	if err != nil {
		return nil
	}
	return b
}

// moment reads a time in seconds or milliseconds since 1970: what has twelve
// digits or more is in milliseconds.
func moment(text string) (time.Time, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	switch {
	case err != nil || len(text) > 14:
		return time.Time{}, false
	case len(text) >= 12:
		return time.UnixMilli(int64(n)), true
	default:
		return time.Unix(int64(n), 0), true
	}
}

// seals are the signatures of requests that were taken, as long as they would be
// let in again. This process alone knows them; on another one a replay is what it
// is after a new start: the same events again, which call nobody twice. The rate
// of a lane bounds them.
type seals struct {
	mu    sync.Mutex
	until map[seal]time.Time
	swept time.Time
}

// known reports whether a signature was used.
func (s *seals) known(m mark, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.until[m.seal]
	return ok && !now.After(until)
}

// remember keeps a signature, and forgets those that are too old to be let in.
func (s *seals) remember(m mark, now time.Time) {
	if m.until.IsZero() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until[m.seal] = m.until
	if now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	for seal, until := range s.until {
		if now.After(until) {
			delete(s.until, seal)
		}
	}
}
