package wire

import (
	"net/http"
	"net/url"
)

// Redirect reports whether a status is a redirect, which by convention is given
// in place of doing anything.
func Redirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

// Ambiguous reports whether a 4xx may be given after the conversation was made.
// 429 is here for one that could not be read to its end.
func Ambiguous(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, 499:
		return true
	default:
		return false
	}
}

// Target returns where a redirect points, for a person, without what might be a
// secret: " (to …)", or nothing.
func (x Exchange) Target(c Censor) string {
	location := x.Header.Get("Location")
	u, err := url.Parse(location)
	if location == "" || err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return " (to " + c.Words(u.String()) + ")"
}
