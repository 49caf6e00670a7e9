package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// The kinds of CRM.
const (
	HubSpot    = "hubspot"
	Pipedrive  = "pipedrive"
	Salesforce = "salesforce"
	Generic    = "generic"
)

// CRM is how a lane hears a CRM. Besides Secret it has what its Kind shows: App at
// HubSpot; User and Password at Pipedrive; Key or HMAC at the others.
type CRM struct {
	Kind   string
	Secret schema.Secret // the last part of the address
	Routes *schema.Routes

	App      schema.Secret // the app's client secret, which signs
	User     string
	Password schema.Secret
	Header   string // that shows Key
	Key      schema.Secret
	HMAC     *HMAC // nil: none

	Mapping *schema.Routes // makes a Generic webhook an event's id, source, type and data
}

const (
	crmRate = 100     // requests a second that a lane's CRM may send
	maxCRM  = 1 << 20 // bytes of one
	// crmPatience is how long one event waits for the broker's word, and how long a
	// webhook's next one is begun: together less than the five seconds that HubSpot
	// waits for an answer, and the ten of Pipedrive.
	crmPatience = 2 * time.Second
)

// crm is a CRM at work.
type crm struct {
	CRM

	lg     zerolog.Logger
	lane   string
	lock   lock
	read   func(body []byte) ([]notice, *problem)
	queue  Queue
	wait   time.Duration
	seals  *seals
	bucket *bucket
	work   places

	watcher Watcher
}

func newCRM(lg zerolog.Logger, lane string, cfg CRM, all Config) *crm {
	door := all.Door
	c := &crm{
		CRM: cfg, lg: lg, lane: lane, queue: door.Queue, wait: min(door.Patience, crmPatience),
		seals: &seals{until: make(map[seal]time.Time)}, bucket: newBucket(crmRate, time.Now()), work: make(places, mostAtWork),
		watcher: all.Watcher,
	}
	switch {
	case cfg.Kind == HubSpot:
		c.lock = hubspotLock(cfg.App, all.PublicURL)
	case cfg.Kind == Pipedrive:
		c.lock = basicLock(cfg.User, cfg.Password)
	case cfg.HMAC != nil:
		c.lock = cfg.HMAC.lock()
	default:
		c.lock = keyLock(cfg.Header, cfg.Key)
	}
	switch cfg.Kind {
	case HubSpot:
		c.read = readHubSpot
	case Pipedrive:
		c.read = readPipedrive
	case Salesforce:
		c.read = readSalesforce
	case Generic:
		c.read = genericReader(cfg.Mapping)
	default:
		panic("gateway: no CRM is of kind " + cfg.Kind)
	}
	return c
}

// notice is what one part of a webhook tells: an event, or why it is none.
type notice struct {
	event event.Event
	skip  string   // it is nothing to call anybody about
	bad   *problem // it should be, and cannot be read
}

// unclear is a notice that cannot be read.
func unclear(format string, args ...any) notice {
	return notice{bad: &problem{
		Status: http.StatusUnprocessableEntity, Title: "Not understood", Detail: fmt.Sprintf(format, args...),
	}}
}

// crmHook takes one webhook of a CRM.
func (g *Gateway) crmHook(w http.ResponseWriter, r *http.Request) {
	defer rescue(g.lg, w)
	lane := r.PathValue("lane")
	if !g.knows(g.addresses, lane, r.PathValue("secret")) {
		nowhere(w)
		return
	}
	c := g.crms[lane]
	got, bad := c.take(w, r)
	if bad != nil {
		level := zerolog.DebugLevel
		if bad.Status != http.StatusMethodNotAllowed && bad.Status != http.StatusTooManyRequests {
			level = zerolog.WarnLevel
		}
		c.lg.WithLevel(level).Str("lane", lane).Str("crm", c.Kind).Int("status", bad.Status).Str("detail", bad.Detail).Msg("webhook of a crm refused")
		refuse(w, *bad)
		return
	}
	c.lg.Debug().Str("lane", lane).Str("crm", c.Kind).Int("notices", len(got.Events)).Msg("webhook of a crm taken")
	write(w, "application/json", got.Status, got)
}

// take reads a webhook whose address is right, and publishes its events.
func (c *crm) take(w http.ResponseWriter, r *http.Request) (taken, *problem) {
	no := func(p problem) (taken, *problem) { return taken{}, &p }
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return no(problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "Webhooks are sent by POST."})
	case compressed(r):
		return no(isCompressed)
	}
	if wait := c.bucket.take(time.Now(), 1); wait > 0 {
		return no(later(http.StatusTooManyRequests, "Too fast", fmt.Sprintf("This lane takes %d webhooks a second.", crmRate), wait))
	}
	if !c.work.enter() {
		return no(later(http.StatusServiceUnavailable, "Busy", "Too many webhooks are being worked on; send it again.", again))
	}
	defer c.work.leave()
	body, bad := readBody(w, r, maxCRM)
	if bad != nil {
		return taken{}, bad
	}
	now := time.Now()
	mark, bad := c.lock(r, body, now)
	if bad == nil && c.seals.known(mark, now) {
		bad = &problem{Status: http.StatusConflict, Title: "Replayed", Detail: "This signature was used before, and what it signs was taken."}
	}
	if bad != nil {
		return taken{}, bad
	}
	notices, bad := c.read(body)
	if bad != nil {
		return taken{}, bad
	}
	got, bad := c.publish(r.Context(), notices)
	if bad == nil {
		c.seals.remember(mark, now)
	}
	return got, bad
}

// publish stores the events in their order. As in a batch of the door, those that
// are good are stored although others are not, and after one that the broker did
// not confirm none is tried: the sender repeats all, and each is the same event.
func (c *crm) publish(ctx context.Context, notices []notice) (taken, *problem) {
	got := taken{Status: http.StatusOK, Events: make([]receipt, len(notices))}
	var first *problem // the first refusal, or the broker's
	failed, _ := inTurn(len(notices), c.wait, func(i int) (bad *problem) {
		got.Events[i], bad = c.one(ctx, notices[i])
		return bad
	}, func(i int, bad *problem) {
		if bad != nil {
			got.Events[i] = receipt{Status: bad.Status, Title: bad.Title, Detail: bad.Detail, Class: bad.Class, Pointer: bad.Pointer}
			if first == nil || first.retry == 0 && bad.retry > 0 {
				first = bad
			}
		}
		got.Events[i].Index = &i
	})
	if first == nil {
		return got, nil
	}
	bad := *first
	if len(notices) > 1 {
		bad.Events = got.Events
		bad.Detail = fmt.Sprintf("%d of %d events were not taken; the first: %s", failed, len(notices), bad.Detail)
	}
	return taken{}, &bad
}

// one stores what one notice tells. What the lane cannot use is stored all the
// same: a CRM hears no refusal, and a dead letter can be sent again. What the lane
// has no route for is not meant for it.
func (c *crm) one(ctx context.Context, n notice) (got receipt, bad *problem) {
	defer func() { c.watcher.Taken(doorCRM, c.lane, resultOf(got, bad)) }()
	switch {
	case n.bad != nil:
		return receipt{}, n.bad
	case n.skip == "" && !c.Routes.Handles(n.event.Type()):
		n.skip = fmt.Sprintf("The lane has no route for %s.", schema.Cut(schema.Mask(n.event.Type()), 120))
	}
	if n.skip != "" {
		return receipt{Status: http.StatusOK, Title: titleSkipped, Detail: n.skip}, nil
	}
	header, body, err := schema.Encode(n.event, schema.Structured)
	if err != nil {
		bad := unclear("It makes no event: %s.", schema.Mask(schema.Cut(err.Error(), 200))).bad
		return receipt{}, bad
	}
	ctx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	intent := consumer.Key(c.lane, n.event.Source(), n.event.ID())
	_, duplicate, err := c.queue.Publish(ctx, c.lane, n.event, header, body)
	if err != nil {
		if _, ok := errors.AsType[*schema.Refusal](err); !ok {
			c.lg.Warn().Err(err).Str("lane", c.lane).Str("intent", intent).Msg("an event of a crm was not taken")
		}
		return receipt{}, refusalOf(err, nil)
	}
	return receipt{Status: http.StatusOK, Lane: c.lane, Intent: intent, Duplicate: duplicate}, nil
}

// address is what is kept of a secret in an address.
func address(secret schema.Secret) [sha256.Size]byte { return sha256.Sum256([]byte(secret.Reveal())) }
