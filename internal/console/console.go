package console

import (
	"cmp"
	"context"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/schema"
)

// Config says where to listen, and who comes in. Zero durations and numbers get
// their defaults.
type Config struct {
	Listen    string // an address with a port
	Cert, Key string // PEM files; both empty: no TLS
	// BehindProxy says that TLS ends at a proxy, which tells whom it speaks for in
	// the last X-Forwarded-For.
	BehindProxy bool
	// Tokens returns those that are valid now.
	Tokens func() ([]schema.Secret, error)
	// Version is shown at the foot of each page.
	Version string

	SignedIn    time.Duration // how long one stays signed in; default 12 h
	Reading     time.Duration // a request may take to come in; default 15 s
	Patience    time.Duration // that a page waits for what it shows; default 10 s
	Connections int           // that are served at one time; default 256
	Watching    int           // pages that are kept fresh at one time; default 64
}

// Desks are what the pages read and do; a page whose desk is nil is not there.
type Desks struct {
	Lanes       Lanes
	Events      Events
	Letters     Letters
	Doubts      Doubts
	Undelivered Undelivered
	Contacts    Contacts
	Settings    Settings
	// LaneNames are those of weir.yaml, in its order.
	LaneNames []string
}

// Console serves the operators' pages.
type Console struct {
	lg     zerolog.Logger
	cfg    Config
	desks  Desks
	pages  []entry
	board  *board // nil: there are no lanes
	looks  *looks
	assets map[string]asset
	sealer sealer
	wrong  *throttle
	// wrongKnown counts the tries of browsers that have signed in before.
	wrongKnown *throttle
	streams    chan struct{} // holds a token for each page that is kept fresh
	closing    chan struct{} // closed when the process stops
}

// New returns a console that does not listen yet.
func New(lg zerolog.Logger, desks Desks, cfg Config) *Console {
	cfg.SignedIn = cmp.Or(cfg.SignedIn, 12*time.Hour)
	cfg.Reading = cmp.Or(cfg.Reading, 15*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	cfg.Connections = cmp.Or(cfg.Connections, 256)
	cfg.Watching = cmp.Or(cfg.Watching, 64)
	c := &Console{
		lg: lg, cfg: cfg, desks: desks,
		assets: readAssets(), wrong: newThrottle(), wrongKnown: newThrottle(), streams: make(chan struct{}, cfg.Watching), closing: make(chan struct{}),
	}
	c.sealer = newSealer(cfg.Tokens)
	c.looks = newLooks(c.assets)
	if desks.Lanes != nil {
		c.board = newBoard(desks.Lanes.Overview)
	}
	c.pages = c.allPages()
	return c
}

// allPages are those whose desks are there, in the order of the navigation.
func (c *Console) allPages() []entry {
	var all []entry
	if c.desks.Lanes != nil {
		all = append(all, c.lanesPages()...)
	}
	if c.desks.Events != nil {
		all = append(all, c.eventsPages()...)
	}
	if c.desks.Letters != nil {
		all = append(all, c.lettersPages()...)
	}
	if c.desks.Doubts != nil {
		all = append(all, c.doubtsPages()...)
	}
	if c.desks.Undelivered != nil {
		all = append(all, c.undeliveredPages()...)
	}
	if c.desks.Contacts != nil {
		all = append(all, c.contactsPages()...)
	}
	if c.desks.Settings != nil {
		all = append(all, c.settingsPages()...)
	}
	return all
}

// policy is the content security policy of every answer.
const policy = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler returns all that the console serves.
func (c *Console) Handler() http.Handler {
	guarded := http.NewCrossOriginProtection()
	guarded.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, c.visit(w, r), refuse(http.StatusForbidden, "This did not come from a page of the console.",
			"Open the console by its own address and try again. If there is a proxy before it, let the proxy keep the Host header."))
	}))
	inner := guarded.Handler(c.routes())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		h.Set("Vary", "Accept, Cookie")
		inner.ServeHTTP(w, r)
	})
}

func (c *Console) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/static/{name}", http.HandlerFunc(c.static))
	mux.Handle("/login", c.open(entry{show: c.showLogin, act: c.login, alone: true}))
	mux.Handle("/logout", c.open(entry{act: c.logout}))
	for _, e := range c.pages {
		mux.Handle(e.path, c.members(e))
	}
	mux.Handle("/", c.members(entry{show: func(context.Context, *visit) (view, error) {
		return view{}, refuse(http.StatusNotFound, "There is no such page.", "Choose one from the navigation.")
	}}))
	return mux
}

// entry is one address.
type entry struct {
	path string
	nav  string // its name in the navigation; empty: it is not there
	// below begins the addresses that the navigation takes for a part of this one;
	// default the path and a slash.
	below string
	// ofLane says that the page takes ?lane=NAME, and so is linked from a lane's own.
	ofLane bool
	show   func(context.Context, *visit) (view, error)
	act    func(context.Context, *visit) (done, error)
	body   int64 // bytes that an act may bring; 0: maxForm
	// alone says that nobody need have signed in.
	alone bool
}

// maxForm is how long an act's form may be, in bytes, unless its entry says more.
const maxForm = 64 << 10

// methods are those that the entry has.
func (e entry) methods() string {
	var all []string
	if e.show != nil {
		all = append(all, http.MethodGet, http.MethodHead)
	}
	if e.act != nil {
		all = append(all, http.MethodPost)
	}
	return strings.Join(all, ", ")
}

// members serves an entry to those who have signed in.
func (c *Console) members(e entry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := c.visit(w, r)
		if v.Name == "" {
			c.turnAway(w, v)
			return
		}
		c.serve(w, v, e)
	})
}

// open serves an entry to everybody.
func (c *Console) open(e entry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, c.visit(w, r), e) })
}

// turnAway sends a visitor to sign in.
func (c *Console) turnAway(w http.ResponseWriter, v *visit) {
	switch {
	case v.Method != http.MethodGet:
		c.fail(w, v, refuse(http.StatusUnauthorized, "Nothing was done: you are not signed in any more.", "Sign in, go back to the page, and do it again."))
	case v.Header.Get("Accept") == eventStream:
		http.Error(w, "not signed in", http.StatusUnauthorized)
	case wantsJSON(v.Request):
		c.fail(w, v, refuse(http.StatusUnauthorized, "You are not signed in.", "Sign in with a browser."))
	default:
		http.Redirect(w, v.Request, "/login?"+loginQuery(v.URL.RequestURI()), http.StatusSeeOther)
	}
}

// serve shows or acts.
func (c *Console) serve(w http.ResponseWriter, v *visit, e entry) {
	if path.Clean(v.URL.Path) != v.URL.Path && v.URL.Path != "/" {
		c.fail(w, v, refuse(http.StatusNotFound, "There is no such page.", "Choose one from the navigation."))
		return
	}
	ctx, cancel := context.WithTimeout(v.Context(), c.cfg.Patience)
	defer cancel()
	switch read := v.Method == http.MethodGet || v.Method == http.MethodHead; {
	case read && e.show != nil && v.Header.Get("Accept") == eventStream:
		c.stream(w, v, e)
	case read && e.show != nil:
		shown, err := e.show(ctx, v)
		if err != nil {
			c.fail(w, v, err)
			return
		}
		c.render(w, v, shown)
	case v.Method == http.MethodPost && e.act != nil:
		c.perform(ctx, w, v, e)
	default:
		w.Header().Set("Allow", e.methods())
		c.fail(w, v, refuse(http.StatusMethodNotAllowed, "This address does not take "+method(v.Method)+".", "Use the pages' own links and buttons."))
	}
}

// method is a method that was asked for, if it is one.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return m
	default:
		return "this method"
	}
}

// perform reads an act's form, acts, and tells what became of it. What was begun
// is not cut off because the visitor went away.
func (c *Console) perform(ctx context.Context, w http.ResponseWriter, v *visit, e entry) {
	if err := v.readForm(w, cmp.Or(e.body, maxForm)); err != nil {
		c.fail(w, v, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actFor)
	defer cancel()
	d, err := e.act(ctx, v)
	switch {
	case err != nil:
		c.fail(w, v, err)
	case d.show != nil:
		c.render(w, v, *d.show)
	default:
		for _, cookie := range d.cookies {
			http.SetCookie(w, cookie)
		}
		c.tell(w, d.word)
		http.Redirect(w, v.Request, inside(d.to), http.StatusSeeOther)
	}
}

// actFor is how long an act may take.
const actFor = time.Minute
