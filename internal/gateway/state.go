package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// stateQueued is that of an event which no lane has taken up yet. All others are
// the ledger's.
const stateQueued consumer.State = "queued"

// state is what became of an event, for its publisher: without the names of the
// people who decided, and with personal data masked.
type state struct {
	Lane         string         `json:"lane"`
	Intent       string         `json:"intent"`
	State        consumer.State `json:"state"`
	Settled      bool           `json:"settled"` // nothing more will happen by itself
	Since        time.Time      `json:"since,omitzero"`
	Source       string         `json:"source,omitzero"`
	ID           string         `json:"id,omitzero"`
	Type         string         `json:"type,omitzero"`
	Conversation string         `json:"conversation,omitzero"` // the provider's id
	Claims       int            `json:"claims,omitzero"`       // permissions to send so far
	Waits        map[string]int `json:"waits,omitzero"`        // by cause
	NotBefore    time.Time      `json:"not_before,omitzero"`
	Class        string         `json:"class,omitzero"` // of a dead letter
	Reason       string         `json:"reason,omitzero"`
	Timeline     []line         `json:"timeline,omitzero"` // the newest last

	queued Queued // as it lies in the lane's stream, unmasked
}

// line is one line of a timeline.
type line struct {
	N      int            `json:"n"`
	State  consumer.State `json:"state"`
	At     time.Time      `json:"at"`
	Claim  int            `json:"claim,omitzero"`
	Reason string         `json:"reason,omitzero"`
}

func stateOf(in consumer.Intent) state {
	s := state{
		Lane: in.Lane, Intent: in.Key, State: in.State, Settled: in.Settled(),
		Source: schema.Mask(in.Source), ID: schema.Mask(in.ID), Type: schema.Mask(in.Type), Conversation: in.Conversation,
		Claims: in.Claims, Waits: in.Waits, NotBefore: in.NotBefore, Class: in.Class, Reason: schema.Mask(in.Reason),
	}
	for _, t := range in.History {
		s.Timeline = append(s.Timeline, line{N: t.N, State: t.State, At: t.At, Claim: t.Claim, Reason: schema.Mask(t.Reason)})
		s.Since = t.At
	}
	return s
}

// key is what an intent's key looks like. It is longer than any lane's name.
var key = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// mostLooks is how many lanes are looked through for one question.
const mostLooks = 100

// asked is a question about one event.
type asked struct {
	lanes      []string // to look in
	name       string   // the intent; empty if it is asked by source and id
	source, id string
	at         uint64 // where it lies in its lane's stream; 0: nobody knows
}

// intent is the intent that is meant, in a lane.
func (q asked) intent(lane string) string {
	if q.name != "" {
		return q.name
	}
	return consumer.Key(lane, q.source, q.id)
}

// asked reads a question, and says why it is not answered.
func (d *door) asked(r *http.Request, p *publisher) (asked, *problem) {
	query := r.URL.Query()
	q := asked{lanes: p.Lanes, name: r.PathValue("name"), source: query.Get("source"), id: query.Get("id")}
	q.at, _ = strconv.ParseUint(query.Get("at"), 10, 64) // none: nobody knows where it lies
	if lane := query.Get("lane"); lane != "" {
		if q.lanes = []string{lane}; !p.feeds(lane) {
			return q, &unknownEvent
		}
	}
	if len(q.lanes) > mostLooks {
		return q, &problem{Status: http.StatusBadRequest, Title: "Which lane?", Detail: fmt.Sprintf("This token is for %d lanes: name one with lane=.", len(q.lanes))}
	}
	switch {
	case q.name != "" && !key.MatchString(q.name):
		return q, &unknownEvent
	case q.name != "":
		q.source, q.id = "", ""
	case q.source == "" || q.id == "":
		return q, &problem{Status: http.StatusBadRequest, Title: "Which event?", Detail: "Ask with source= and id=, or for /events/<intent>."}
	default:
		var err error
		if q.source, q.id, err = schema.Identity(q.source, q.id); err != nil {
			return q, refusalOf(err, nil)
		}
	}
	if wait := p.asks.take(time.Now(), len(q.lanes)); wait > 0 {
		bad := later(http.StatusTooManyRequests, "Too fast", fmt.Sprintf("This publisher may ask %d times a second.", p.Rate), wait)
		return q, &bad
	}
	return q, nil
}

// get answers what became of an event.
func (d *door) get(w http.ResponseWriter, r *http.Request, p *publisher) {
	q, bad := d.asked(r, p)
	if bad != nil {
		d.refuse(w, p, *bad)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), d.cfg.Patience)
	defer cancel()
	for _, lane := range q.lanes {
		s, err := d.state(ctx, lane, q.intent(lane), q.at)
		switch {
		case errors.Is(err, consumer.ErrGone):
			continue
		case err != nil:
			d.refuse(w, p, d.silent(p, lane, err))
			return
		}
		write(w, "application/json", http.StatusOK, s)
		return
	}
	d.refuse(w, p, unknownEvent)
}

// silent is the answer while the ledger cannot be read.
func (d *door) silent(p *publisher, lane string, err error) problem {
	d.lg.Warn().Err(err).Str("publisher", p.Name).Str("lane", lane).Msg("a state cannot be told")
	return later(http.StatusServiceUnavailable, "Not known now", "The ledger cannot be read now; ask again.", again)
}

// unknownEvent is the answer where nothing can be told, whatever the cause.
var unknownEvent = problem{
	Status: http.StatusNotFound, Title: "Unknown event",
	Detail: "No lane of this token knows this event: it was not sent, or no lane has taken it up yet, or it is forgotten.",
}

// state tells what the ledger has of an intent, or that its event is queued;
// consumer.ErrGone if neither is known.
func (d *door) state(ctx context.Context, lane, intent string, at uint64) (state, error) {
	in, _, err := d.cfg.Ledger.Load(ctx, lane, intent)
	if err != nil {
		return state{}, err
	}
	if in.State != consumer.Absent {
		return stateOf(in), nil
	}
	if at == 0 {
		return state{}, consumer.ErrGone
	}
	q, err := d.cfg.Queue.Queued(ctx, lane, intent, at)
	if err != nil {
		return state{}, err
	}
	return state{
		Lane: lane, Intent: intent, State: stateQueued, Since: q.Since, Source: schema.Mask(q.Source), ID: schema.Mask(q.ID), queued: q,
	}, nil
}
