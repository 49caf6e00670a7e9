// Package gateway is what others may send to Weir over HTTP: events from
// publishers, and webhooks from providers.
//
//	POST    /events[/<lane>]                    events, in any mode of CloudEvents over HTTP
//	GET     /events/<intent>[?lane=&at=]        what became of one
//	GET     /events?source=&id=[&lane=]
//	DELETE  /events/<intent>[?lane=&at=]        withdraws one that was not sent
//	DELETE  /events?source=&id=[&lane=]
//	OPTIONS /events[/<lane>]                    the CloudEvents webhook handshake
//	POST    /contacts/block, /contacts/allow    who must not be contacted, or may again
//	POST    /hooks/provider/<lane>/<secret>     webhooks of the provider
//	POST    /hooks/crm/<lane>/<secret>          webhooks of a CRM, which become events
//
// # Events
//
// A publisher shows a bearer token, which is bound to lanes. 202 is the broker's
// word that the event is durable; nothing else is. An event without that word
// may be stored all the same, and may be sent again as often as one likes: source
// and id make it one event. What the lane would make a dead letter, because it is
// no CloudEvent 1.0, because its data violates the schema of its type, or because
// the lane has no route for its type, is refused here, where the publisher hears
// it. A batch is answered 202 only if each of its events is durable; else the
// answer tells of each.
//
// GET changes nothing. It tells the state that the ledger has, personal data
// masked, of the lanes of that token alone.
//
// A replica needs no lane of its own for this: the door publishes and reads. A
// crash leaves behind an event that is stored or is not; the publisher, who has
// no answer, sends it again.
//
// # People
//
// A publisher's token blocks and allows people in its own lanes, and the gateway's
// own everywhere. 200 and 201 mean that it is durable: it holds for each claim that
// begins from then on. The same again changes nothing. Nobody is listed, and no
// answer repeats a number.
//
// # Webhooks of CRMs
//
// A CRM shows the secret in the address, and what else it has: a signature, a user
// and password, or a key. What it tells becomes events whose ids are made of its
// own ids, so that a webhook that comes again is the same events. 200 means that
// each of them is durable. A signature with a time is let in once.
//
// # Webhooks of providers
//
// The secret in the address is all that a sender has to know, for the providers
// sign nothing. What a webhook says is believed by nobody (H13): it is handed to
// the engine, and the answer tells the provider whether to send it again.
//
//	200  what it tells is confirmed and durable, or was known
//	202  it is of no conversation of ours, or of an end that is confirmed soon
//	400  it is none of the provider's webhooks
//	404  there is no such lane, or this is not its secret
//	405  not a POST
//	413  longer than 1 MiB
//	415  compressed
//	503  not confirmed and durable yet; Retry-After says when to send it again
//
// Every refusal is a problem document (RFC 9457), but for what is no request of
// HTTP at all. Addresses are never logged, for they hold secrets, and bodies
// neither, for they hold personal data.
package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"path"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

const (
	// maxHook is how long a webhook may be, in bytes: room for the transcript of
	// an hour.
	maxHook = 1 << 20
	// mostHooks are worked on at once; the next one is asked to come again.
	mostHooks = 64
	// patience is how long a webhook waits for its confirmation: less than the
	// time-outs of the providers that say theirs.
	patience = 10 * time.Second
	// again is when what could not be done now should be sent again.
	again = 5 * time.Second
)

// Ear hears the webhooks of a lane: the engine.
type Ear interface {
	// Hook returns nil when what the webhook tells is durable; its errors are
	// the consumer's.
	Hook(ctx context.Context, lane string, body []byte, header map[string][]string) error
}

// Config says where to listen, and for what. Zero durations and numbers get
// their defaults.
type Config struct {
	Listen    string // an address with a port
	Cert, Key string // PEM files; both empty: no TLS

	// Secrets are those of the lanes' webhook addresses, by lane. A lane that is
	// not here hears none.
	Secrets map[string]schema.Secret

	Door Door
	// CRMs are those that lanes hear, by lane; they publish to the Door's Queue.
	CRMs map[string]CRM
	// PublicURL is the gateway's address as its callers have it, without a slash at
	// its end.
	PublicURL string

	// Watcher hears what is answered, for metrics; nil: nobody does.
	Watcher Watcher

	Reading     time.Duration // a request may take to come in; default 15 s
	Connections int           // that are served at one time; default 1,024
}

// Gateway serves the requests of others.
type Gateway struct {
	lg      zerolog.Logger
	ear     Ear
	cfg     Config
	secrets map[string][sha256.Size]byte
	nobody  [sha256.Size]byte // compared for a lane that is not there
	busy    chan struct{}     // holds a token for each webhook at work
	door    *door             // nil: there is none
	crms    map[string]*crm
	visits  visits

	addresses map[string][sha256.Size]byte // the secrets of crms
}

// New returns a gateway that does not listen yet.
func New(lg zerolog.Logger, ear Ear, cfg Config) *Gateway {
	cfg.Reading = cmp.Or(cfg.Reading, 15*time.Second)
	cfg.Connections = cmp.Or(cfg.Connections, 1024)
	cfg.Watcher = watched(cfg.Watcher)
	g := &Gateway{
		lg: lg, ear: ear, cfg: cfg,
		secrets: make(map[string][sha256.Size]byte), busy: make(chan struct{}, mostHooks),
		addresses: make(map[string][sha256.Size]byte), crms: make(map[string]*crm),
	}
	cfg.Door.Patience = min(cmp.Or(cfg.Door.Patience, patience), patience)
	_, _ = rand.Read(g.nobody[:]) // never fails
	for lane, secret := range cfg.Secrets {
		if secret != "" { // an empty one would let everybody in
			g.secrets[lane] = address(secret)
		}
	}
	for lane, c := range cfg.CRMs {
		if c.Secret != "" {
			g.addresses[lane], g.crms[lane] = address(c.Secret), newCRM(lg, lane, c, cfg)
		}
	}
	if len(cfg.Door.Publishers) > 0 {
		g.door = newDoor(lg, cfg)
	}
	return g
}

// Handler returns all that the gateway serves.
func (g *Gateway) Handler() http.Handler {
	mux := g.routes()
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		w := &visit{ResponseWriter: to, began: time.Now()}
		defer func() { g.cfg.Watcher.Served(w.record(r)) }()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case tooMany(r.Context()):
			h.Set("Connection", "close")
			refuse(w, later(http.StatusServiceUnavailable, "Busy", "Too many connections are open; come again.", time.Second))
			return
		case !g.visits.enter():
			h.Set("Connection", "close")
			refuse(w, later(http.StatusServiceUnavailable, "Stopping", "This process is about to end; come again.", again))
			return
		}
		defer g.visits.leave()
		if path.Clean(r.URL.Path) != r.URL.Path { // else the mux would redirect, and repeat the address
			nowhere(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (g *Gateway) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/hooks/provider/{lane}/{secret}", g.hook)
	mux.HandleFunc("/hooks/crm/{lane}/{secret}", g.crmHook)
	if g.door != nil {
		mux.HandleFunc("/events", g.door.serve)
		mux.HandleFunc("/events/{name}", g.door.serve)
		if list := g.cfg.Door.List; list != nil {
			mux.HandleFunc("/contacts/block", g.door.contacts(list.Block))
			mux.HandleFunc("/contacts/allow", g.door.contacts(list.Allow))
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { nowhere(w) })
	return mux
}

// hook hands one webhook to the engine.
func (g *Gateway) hook(w http.ResponseWriter, r *http.Request) {
	lane := r.PathValue("lane")
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "Webhooks are sent by POST."})
		return
	case !g.knows(g.secrets, lane, r.PathValue("secret")):
		nowhere(w)
		return
	case compressed(r):
		refuse(w, isCompressed)
		return
	}
	select {
	case g.busy <- struct{}{}:
		defer func() { <-g.busy }()
	default:
		refuse(w, later(http.StatusServiceUnavailable, "Busy", "Too many webhooks are being worked on; send it again.", again))
		return
	}
	body, bad := readBody(w, r, maxHook)
	if bad != nil {
		refuse(w, *bad)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	g.reply(w, lane, g.ear.Hook(ctx, lane, body, r.Header))
}

// knows reports whether this is the lane's secret, in the same time whatever is
// wrong.
func (g *Gateway) knows(secrets map[string][sha256.Size]byte, lane, secret string) bool {
	want, ok := secrets[lane]
	if !ok {
		want = g.nobody
	}
	got := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok
}

// reply tells the provider what became of its webhook.
func (g *Gateway) reply(w http.ResponseWriter, lane string, err error) {
	level := zerolog.DebugLevel
	switch {
	case err == nil:
		accept(w, http.StatusOK, "done")
	case errors.Is(err, consumer.ErrUnknown):
		accept(w, http.StatusAccepted, "no conversation of ours")
	case errors.Is(err, consumer.ErrHeard):
		accept(w, http.StatusAccepted, "heard, and confirmed soon")
	case errors.Is(err, consumer.ErrNoWebhook):
		nowhere(w)
	case errors.Is(err, consumer.ErrUnreadable):
		level = zerolog.WarnLevel
		refuse(w, problem{Status: http.StatusBadRequest, Title: "Not a webhook", Detail: "The body is none of this provider's webhooks."})
	default:
		refuse(w, later(http.StatusServiceUnavailable, "Not confirmed yet", "Send it again.", again))
	}
	g.lg.WithLevel(level).Str("lane", lane).AnErr("result", err).Msg("webhook")
}
