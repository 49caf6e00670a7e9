package console

import (
	"errors"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visit is one request, and who asks.
type visit struct {
	*http.Request

	Name string // who has signed in; empty: nobody
	word word   // what an act before this one left to say
}

// visit reads who asks, and takes up the word that an act has left.
func (c *Console) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{Request: r}
	if cookie, err := r.Cookie(c.cookieName(signedInCookie)); err == nil {
		v.Name = c.sealer.open(cookie.Value)
	}
	if v.Name != "" && r.Method == http.MethodGet {
		v.word = c.told(w, r)
	}
	return v
}

// readForm reads a form of at most so many bytes.
func (v *visit) readForm(w http.ResponseWriter, most int64) error {
	kind, _, err := mime.ParseMediaType(v.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return refuse(http.StatusUnsupportedMediaType, "This is no form.", "Use the pages' own buttons.")
	}
	v.Body = http.MaxBytesReader(w, v.Body, most)
	err = v.ParseForm()
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		return refuse(http.StatusRequestEntityTooLarge, "What was sent is too long.", "Choose fewer at a time.")
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "The form could not be read.", "Go back, load the page anew, and try again.")
	}
	return nil
}

// field is a form's field without blanks around it, cut to a number of characters
// that no honest entry has.
func (v *visit) field(name string) string { return plain(v.PostForm.Get(name), 1000) }

// plain is a text on one line: no control characters, no blanks around it, valid,
// and at most so many characters.
func plain(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		default:
			return r
		}
	}, s)
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most])
	}
	return s
}

// address is whom wrong tokens are counted by.
func (c *Console) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if c.cfg.BehindProxy {
		if all := r.Header.Values("X-Forwarded-For"); len(all) > 0 {
			last := all[len(all)-1]
			host = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		}
	}
	ip, err := netip.ParseAddr(host)
	if with, withErr := netip.ParseAddrPort(host); err != nil && withErr == nil { // some proxies add the port
		ip, err = with.Addr(), nil
	}
	if err != nil {
		return "unknown"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() { // a household has as many addresses as it likes
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
