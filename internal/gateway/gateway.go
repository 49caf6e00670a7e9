// Package gateway is what others may send to Weir over HTTP. So far that is the
// webhooks of providers:
//
//	POST /hooks/provider/<lane>/<secret>
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
// Every refusal is a problem document (RFC 9457). Addresses are never logged, for
// they hold secrets, and bodies neither, for they hold personal data.
package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log"
	"net"
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
	// again is when an unconfirmed webhook should be sent again.
	again = "5"
)

// Ear hears the webhooks of a lane: the engine.
type Ear interface {
	// Hook returns nil when what the webhook tells is durable; its errors are
	// the consumer's.
	Hook(ctx context.Context, lane string, body []byte, header map[string][]string) error
}

// Config says where to listen, and for what.
type Config struct {
	Listen    string // an address with a port
	Cert, Key string // PEM files; both empty: no TLS

	// Secrets are those of the lanes' webhook addresses, by lane. A lane that is
	// not here hears none.
	Secrets map[string]schema.Secret
}

// Gateway serves the requests of others.
type Gateway struct {
	lg      zerolog.Logger
	ear     Ear
	cfg     Config
	secrets map[string][sha256.Size]byte
	nobody  [sha256.Size]byte // compared for a lane that is not there
	busy    chan struct{}     // holds a token for each webhook at work
}

// New returns a gateway that does not listen yet.
func New(lg zerolog.Logger, ear Ear, cfg Config) *Gateway {
	g := &Gateway{
		lg: lg, ear: ear, cfg: cfg,
		secrets: make(map[string][sha256.Size]byte), busy: make(chan struct{}, mostHooks),
	}
	_, _ = rand.Read(g.nobody[:]) // never fails
	for lane, secret := range cfg.Secrets {
		if secret != "" { // an empty one would let everybody in
			g.secrets[lane] = sha256.Sum256([]byte(secret.Reveal()))
		}
	}
	return g
}

// Run listens and serves until ctx ends, and lets the requests that are under way
// end.
func (g *Gateway) Run(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return err
	}
	g.lg.Info().Stringer("address", ln.Addr()).Bool("tls", g.cfg.Cert != "").Msg("gateway listens")
	return g.Serve(ctx, ln)
}

// Serve is Run on a listener of the caller's, which it closes.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler: g.Handler(), ErrorLog: log.New(io.Discard, "", 0), // it would write what strangers send
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 15*time.Second + patience, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan error, 1)
	go func() {
		if g.cfg.Cert != "" {
			ended <- srv.ServeTLS(ln, g.cfg.Cert, g.cfg.Key)
			return
		}
		ended <- srv.Serve(ln)
	}()
	select {
	case err := <-ended:
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return srv.Close()
	}
	return nil
}

// Handler returns all that the gateway serves.
func (g *Gateway) Handler() http.Handler {
	mux := g.routes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
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
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { nowhere(w) })
	return mux
}

// hook hands one webhook to the engine.
func (g *Gateway) hook(w http.ResponseWriter, r *http.Request) {
	lane := r.PathValue("lane")
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed", "Webhooks are sent by POST.")
		return
	case !g.knows(lane, r.PathValue("secret")):
		nowhere(w)
		return
	case r.Header.Get("Content-Encoding") != "" && r.Header.Get("Content-Encoding") != "identity":
		refuse(w, http.StatusUnsupportedMediaType, "Compressed", "Send the body as it is.")
		return
	}
	select {
	case g.busy <- struct{}{}:
		defer func() { <-g.busy }()
	default:
		w.Header().Set("Retry-After", again)
		refuse(w, http.StatusServiceUnavailable, "Busy", "Too many webhooks are being worked on; send it again.")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHook))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		refuse(w, http.StatusRequestEntityTooLarge, "Too long", "A webhook may have 1 MiB.")
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "Cut short", "The body could not be read to its end.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	g.reply(w, lane, g.ear.Hook(ctx, lane, body, r.Header))
}

// knows reports whether this is the lane's secret, in the same time whatever is
// wrong.
func (g *Gateway) knows(lane, secret string) bool {
	want, ok := g.secrets[lane]
	if !ok {
		want = g.nobody
	}
	got := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok
}

// reply tells the provider what became of its webhook.
func (g *Gateway) reply(w http.ResponseWriter, lane string, err error) {
	lg := g.lg.Debug().Str("lane", lane)
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
		lg = g.lg.Warn().Str("lane", lane)
		refuse(w, http.StatusBadRequest, "Not a webhook", "The body is none of this provider's webhooks.")
	default:
		w.Header().Set("Retry-After", again)
		refuse(w, http.StatusServiceUnavailable, "Not confirmed yet", "Send it again.")
	}
	lg.AnErr("result", err).Msg("webhook")
}
