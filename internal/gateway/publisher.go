package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/schema"
)

// Publisher is who may feed some lanes.
type Publisher struct {
	Name string
	// Tokens returns those that are valid now. It is asked once a second; after
	// an error the ones before stay valid.
	Tokens func() ([]schema.Secret, error)
	Lanes  []string // that it may feed and ask about
	// Everywhere says that it may also decide what holds in all lanes, and in those to
	// come.
	Everywhere bool
	Rate       int      // events a second
	Origins    []string // DNS names that the webhook handshake lets in without a token
}

// mostAtWork is how many requests of one publisher are worked on at one time: a
// broker that is slow, or a client, must not take the memory of all.
const mostAtWork = 16

// places holds a token for each request that is worked on.
type places chan struct{}

// enter takes a place, if one is free.
func (p places) enter() bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p places) leave() { <-p }

// publisher is a Publisher at work.
type publisher struct {
	Publisher

	events *bucket
	asks   *bucket // questions have a rate of their own: who asks often can publish all the same
	lists  *bucket // people whom it blocks or allows
	work   places

	mu     sync.Mutex
	hashes [][sha256.Size]byte // of the tokens; watchTokens writes
	failed string              // why the newest ones are not known
}

func newPublisher(cfg Publisher, now time.Time) *publisher {
	return &publisher{
		Publisher: cfg, events: newBucket(cfg.Rate, now), asks: newBucket(cfg.Rate, now), lists: newBucket(cfg.Rate, now), work: make(places, mostAtWork),
	}
}

// enter takes a place for one of its requests.
func (p *publisher) enter() *problem {
	if p.work.enter() {
		return nil
	}
	bad := later(http.StatusTooManyRequests, "Too many at once", fmt.Sprintf("%d requests of this publisher are being worked on.", mostAtWork), time.Second)
	return &bad
}

// feeds reports whether the publisher may feed the lane.
func (p *publisher) feeds(lane string) bool { return slices.Contains(p.Lanes, lane) }

// renew asks for the tokens that are valid now.
func (d *door) renew(p *publisher) {
	tokens, err := p.Tokens()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if err.Error() != p.failed {
			d.lg.Warn().Err(err).Str("publisher", p.Name).Msg("a publisher's token cannot be read; what was valid stays valid")
		}
		p.failed = err.Error()
		return
	}
	hashes := make([][sha256.Size]byte, len(tokens))
	for i, token := range tokens {
		hashes[i] = sha256.Sum256([]byte(token.Reveal()))
	}
	if p.hashes != nil && !slices.Equal(hashes, p.hashes) {
		d.lg.Info().Str("publisher", p.Name).Int("tokens", len(tokens)).Msg("a publisher's tokens have changed")
	}
	p.hashes, p.failed = hashes, ""
}

// watchTokens follows the tokens until ctx ends.
func (d *door) watchTokens(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		for _, p := range d.publishers {
			d.renew(p)
		}
	}
}

// shows reports whether one of the publisher's tokens has this hash, in the same
// time whichever it is.
func (p *publisher) shows(hash [sha256.Size]byte) bool {
	p.mu.Lock()
	hashes := p.hashes
	p.mu.Unlock()
	same := 0
	for _, h := range hashes {
		same |= subtle.ConstantTimeCompare(h[:], hash[:])
	}
	return same == 1
}

// who returns the publisher whose token the request shows, or why there is none.
func (d *door) who(r *http.Request) (*publisher, *problem) {
	no := func(detail string) (*publisher, *problem) {
		return nil, &problem{Status: http.StatusUnauthorized, Title: "Unauthorized", Detail: detail}
	}
	shown := r.Header["Authorization"]
	switch {
	case r.URL.Query().Has("access_token"):
		return no("Send the token as Authorization: Bearer; in an address it would come into logs. Take this one out of use.")
	case len(shown) == 0:
		return no("Send Authorization: Bearer with the token.")
	case len(shown) > 1:
		return no("Send one Authorization.")
	}
	scheme, token, _ := strings.Cut(shown[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return no("Send Authorization: Bearer with the token.")
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
	var found *publisher
	for _, p := range d.publishers {
		if p.shows(hash) && found == nil {
			found = p
		}
	}
	if found == nil {
		return no("This token is not known.")
	}
	return found, nil
}
