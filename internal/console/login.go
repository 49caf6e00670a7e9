package console

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/schema"
)

// The cookies: who has signed in, and what an act left to say.
const (
	signedInCookie = "weir_console"
	wordCookie     = "weir_word"
	knownCookie    = "weir_known"
)

// pass is what a cookie says, version 1.
type pass struct {
	Name string    `json:"n"`
	ID   string    `json:"i"`
	End  time.Time `json:"e"`
}

// sealer makes passes and reads them. Its methods may be called concurrently.
type sealer struct {
	tokens func() ([]schema.Secret, error)
	gone   *goneList
}

func newSealer(tokens func() ([]schema.Secret, error)) sealer {
	return sealer{tokens: tokens, gone: &goneList{ends: make(map[string]time.Time)}}
}

// mark seals a text for one purpose with a key that is made of a token.
func mark(token schema.Secret, purpose, text string) []byte {
	key := hmac.New(sha256.New, []byte(token.Reveal()))
	key.Write([]byte("weir console " + purpose + " 1"))
	m := hmac.New(sha256.New, key.Sum(nil))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// seal returns what is said for a purpose, with a mark that open checks.
func seal(token schema.Secret, purpose string, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("console: a pass does not encode: " + err.Error())
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	return text + "." + base64.RawURLEncoding.EncodeToString(mark(token, purpose, text))
}

// unseal reads what was sealed with a token that is valid now, and returns the
// token.
func (s sealer) unseal(purpose, sealed string, v any) (schema.Secret, bool) {
	text, sum, ok := strings.Cut(sealed, ".")
	got, err := base64.RawURLEncoding.DecodeString(sum)
	if !ok || err != nil || len(sealed) > 4096 {
		return "", false
	}
	tokens, err := s.tokens()
	if err != nil {
		return "", false
	}
	for _, token := range tokens {
		if token == "" || !hmac.Equal(got, mark(token, purpose, text)) {
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(text)
		return token, err == nil && json.Unmarshal(b, v) == nil
	}
	return "", false
}

// open returns the name on a pass that is good now, else nothing.
func (s sealer) open(sealed string) string {
	var p pass
	if _, ok := s.unseal("pass", sealed, &p); !ok || !time.Now().Before(p.End) || s.gone.has(p.ID) {
		return ""
	}
	return p.Name
}

// matches returns the valid token that this one is, in the same time whatever is
// wrong with it.
func (s sealer) matches(shown string) (schema.Secret, error) {
	tokens, err := s.tokens()
	if err != nil {
		return "", err
	}
	got := sha256.Sum256([]byte(shown))
	var found schema.Secret
	for _, token := range tokens {
		want := sha256.Sum256([]byte(token.Reveal()))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && token != "" {
			found = token
		}
	}
	return found, nil
}

// mostGone bounds the passes that are remembered as signed out.
const mostGone = 10_000

// goneList is who signed out, until their passes end by themselves.
type goneList struct {
	mu   sync.Mutex
	ends map[string]time.Time
}

func (g *goneList) has(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, gone := g.ends[id]
	return gone
}

func (g *goneList) add(id string, end time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for old, end := range g.ends {
		if len(g.ends) >= mostGone || time.Now().After(end) {
			delete(g.ends, old)
		}
	}
	g.ends[id] = end
}

// loginView is the page to sign in at.
type loginView struct {
	Form form
	Next string
}

// loginQuery is how the sign-in page is told where to go on.
func loginQuery(next string) string { return url.Values{"next": {inside(next)}}.Encode() }

// inside returns an address if it is a path of the console, else its first page.
// No other site is ever the aim of a redirect.
func inside(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") ||
		strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || len(to) > 2000 {
		return "/"
	}
	return to
}

func (c *Console) showLogin(_ context.Context, v *visit) (view, error) {
	next := inside(v.URL.Query().Get("next"))
	shown := c.loginPage(next, "", "", "", http.StatusOK)
	// With a link on another site browsers send no strict cookie, so that who is signed
	// in looks like a stranger. The page that they were sent to is opened once more,
	// from here: then they do.
	if v.Header.Get("Sec-Fetch-Site") == "cross-site" && v.URL.Query().Has("next") {
		shown.Onward = next
	}
	return shown, nil
}

func (c *Console) loginPage(next, name, nameError, tokenError string, status int) view {
	return view{Template: "login", Title: "Sign in", Status: status, Data: loginView{Next: next, Form: form{
		Action: "/login", Button: "Sign in", Hidden: map[string]string{"next": next},
		Fields: []field{
			{Name: "name", Label: "Your name", Value: name, Help: "It is kept with what you do.", Error: nameError, Required: true, Max: mostName, Complete: "username"},
			{Name: "token", Label: "Token", Kind: "password", Help: "The console's token, from weir.yaml.", Error: tokenError, Required: true, Max: 128, Complete: "current-password"},
		},
	}}}
}

// mostName bounds a visitor's name, in characters.
const mostName = 64

// login lets in who knows the token.
func (c *Console) login(_ context.Context, v *visit) (done, error) {
	next, name := inside(v.PostForm.Get("next")), plain(v.PostForm.Get("name"), mostName)
	if name == "" {
		return again(c.loginPage(next, "", "Say who you are.", "", http.StatusUnprocessableEntity)), nil
	}
	from, now := c.address(v.Request), time.Now()
	wrong, by := c.wrong, from
	known := c.known(v)
	if known.ID != "" {
		wrong, by = c.wrongKnown, known.ID
	}
	if wait := wrong.try(by, now); wait > 0 {
		return done{}, refusal{
			Status: http.StatusTooManyRequests, Text: "There were too many wrong tokens.", Retry: wait,
			Next: fmt.Sprintf("Try again in %v.", max(wait.Round(time.Second), time.Second)),
		}
	}
	token, err := c.sealer.matches(v.PostForm.Get("token"))
	if err != nil {
		return done{}, fmt.Errorf("console.token: %w", err)
	}
	if token == "" {
		c.lg.Warn().Str("from", from).Msg("console: a wrong token")
		return again(c.loginPage(next, name, "", "This is not the console's token.", http.StatusUnauthorized)), nil
	}
	wrong.right(by, now)
	end := now.Add(c.cfg.SignedIn)
	sealed := seal(token, "pass", pass{Name: name, ID: rand.Text(), End: end})
	c.lg.Info().Str("from", from).Msg("console: an operator signed in")
	return done{to: next, cookies: []*http.Cookie{c.cookie(signedInCookie, sealed, c.cfg.SignedIn), c.knownAgain(token, known, now)}}, nil
}

// knownFor is how long a browser that signed in is known.
const knownFor = 30 * 24 * time.Hour

// known is the mark of a browser that has signed in before, if it has one: its tries
// count by themselves, so that who guesses from elsewhere, or from behind the same
// address, keeps nobody out who has been here.
func (c *Console) known(v *visit) (p pass) {
	cookie, err := v.Cookie(c.cookieName(knownCookie))
	if err != nil {
		return pass{}
	}
	if _, ok := c.sealer.unseal("known", cookie.Value, &p); !ok || !time.Now().Before(p.End) {
		return pass{}
	}
	return p
}

// knownAgain marks a browser that signed in. Its id stays: else each sign-in would
// bring new tries with it.
func (c *Console) knownAgain(token schema.Secret, p pass, now time.Time) *http.Cookie {
	p = pass{ID: cmp.Or(p.ID, rand.Text()), End: now.Add(knownFor)}
	return c.cookie(knownCookie, seal(token, "known", p), knownFor)
}

// logout ends what the visitor's cookie is good for, here.
func (c *Console) logout(_ context.Context, v *visit) (done, error) {
	if cookie, err := v.Cookie(c.cookieName(signedInCookie)); err == nil {
		var p pass
		if _, ok := c.sealer.unseal("pass", cookie.Value, &p); ok {
			c.sealer.gone.add(p.ID, p.End)
		}
	}
	return done{to: "/login", cookies: []*http.Cookie{c.cookie(signedInCookie, "", -1)}}, nil
}

// secure reports whether browsers reach the console by TLS.
func (c *Console) secure() bool { return c.cfg.Cert != "" || c.cfg.BehindProxy }

// cookieName binds a cookie to this host where TLS allows that.
func (c *Console) cookieName(name string) string {
	if c.secure() {
		return "__Host-" + name
	}
	return name
}

// cookie is one of ours; a negative age removes it.
func (c *Console) cookie(name, value string, age time.Duration) *http.Cookie {
	seconds := int(age.Seconds())
	if age < 0 {
		seconds = -1
	}
	return &http.Cookie{
		Name: c.cookieName(name), Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, Secure: c.secure(), SameSite: http.SameSiteStrictMode,
	}
}
