package simulator

import (
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/google/uuid"
)

// Webhooks are what a simulated Oration sends of its conversations: two events of
// each when it is over. The shares, 0 to 1, are drawn of each conversation from
// the seed and its number, independently of each other. They are sent while Serve
// runs; what is due at its end is not sent any more.
type Webhooks struct {
	URL string // http or https on loopback; empty: none are sent

	Delay  time.Duration // mean time after the end, half to one and a half; default 20 ms; never scaled
	Late   float64       // they come LateBy later
	LateBy time.Duration // default 10 s; never scaled

	Never    float64 // none is sent
	Twice    float64 // each is sent twice
	Disorder float64 // the analysis comes before the completion
	Early    float64 // a completion that is not true is sent as soon as it is made, mostly before its answer
	Prefixed float64 // the id is spelled conv_…, which the API does not know
	Tries    int     // of one that is not answered 2xx, a second apart; default 3
}

// The events of a conversation.
const (
	eventCompleted = "conversation.completed"
	eventAnalysed  = "conversation.analysisCompleted"
)

// withDefaults returns the webhooks with zero fields filled in.
func (h Webhooks) withDefaults() Webhooks {
	if h.Delay == 0 {
		h.Delay = 20 * time.Millisecond
	}
	if h.LateBy == 0 {
		h.LateBy = 10 * time.Second
	}
	if h.Tries == 0 {
		h.Tries = 3
	}
	return h
}

// validate joins every problem of webhooks that have their defaults.
func (h Webhooks) validate() error {
	var p problems
	for _, c := range []chance{
		{"late", h.Late}, {"never", h.Never}, {"twice", h.Twice}, {"disorder", h.Disorder}, {"early", h.Early}, {"prefixed", h.Prefixed},
	} {
		p.add(!(c.p >= 0 && c.p <= 1), "webhooks.%s: %v is not between 0 and 1", c.name, c.p)
	}
	p.add(h.Delay < 0 || h.LateBy < 0 || h.Tries < 0, "webhooks: delay, late_by and tries must not be negative")
	p.add(h.URL != "" && !onLoopback(h.URL), "webhooks.url: must be http or https on loopback")
	return errors.Join(p...)
}

// onLoopback reports whether a URL leads to this machine alone.
func onLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// envelope is a webhook's body.
type envelope struct {
	EventID   string  `json:"eventId"`
	EventType string  `json:"eventType"`
	Payload   payload `json:"payload"`
}

// payload is a conversation as a webhook tells of it.
type payload struct {
	description
	CampaignID   *string `json:"campaignId"`
	RecordingURL *string `json:"recordingUrl"`
	Transcript   string  `json:"transcript"`
}

// envelopeOf returns a webhook of a conversation as it is at a time. Call it
// within the account's do.
func envelopeOf(c *call, event string, now time.Time, spelling string) envelope {
	e := envelope{EventID: "evt_" + uuid.NewString(), EventType: event, Payload: payload{description: describe(c, now)}}
	e.Payload.ID = spelling
	e.Payload.Transcript = "Agent: Hello.\nUser: Hello."
	if e.Payload.ConversationStatus != "completed" { // one that is not true
		e.Payload.end(c)
	}
	return e
}

// mischief is what chance decides about the webhooks of one conversation.
type mischief struct {
	delay, late                             time.Duration
	never, twice, disorder, early, prefixed bool
}

// mischief draws what becomes of the n-th conversation's webhooks. Every draw is
// made whether or not it is needed.
func (h Webhooks) mischief(seed, n uint64) mischief {
	rng := draws(seed, streamWebhook, n)
	m := mischief{delay: time.Duration((0.5 + rng.Float64()) * float64(h.Delay))}
	if rng.Float64() < h.Late {
		m.late = h.LateBy
	}
	m.never = rng.Float64() < h.Never
	m.twice = rng.Float64() < h.Twice
	m.disorder = rng.Float64() < h.Disorder
	m.early = rng.Float64() < h.Early
	m.prefixed = rng.Float64() < h.Prefixed
	return m
}
