package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Errors of a Queue that the door tells apart. Any other one means that nobody
// knows whether the event is stored.
var (
	// ErrFull is a lane that has no room for more.
	ErrFull = errors.New("the lane is full")
	// ErrTooLarge is an event that the broker never takes.
	ErrTooLarge = errors.New("the event is too large for the broker")
)

// Queue is where a lane's events wait.
type Queue interface {
	// Publish stores an event, and returns where. A *schema.Refusal says what is
	// wrong with the event itself. The same event again is a duplicate, and
	// harmless.
	Publish(ctx context.Context, lane string, ev event.Event, header map[string][]string, body []byte) (sequence uint64, duplicate bool, err error)
	// Queued tells of an intent's event that lies at a sequence; consumer.ErrGone
	// where it does not.
	Queued(ctx context.Context, lane, intent string, sequence uint64) (Queued, error)
}

// Queued is an event that lies in its lane's stream. Source and ID are empty if it
// cannot be read.
type Queued struct {
	Since      time.Time
	Source, ID string
}

// Ledger tells what was done.
type Ledger interface {
	// Load reads one entry; an absent one is in state consumer.Absent.
	Load(ctx context.Context, lane, intent string) (consumer.Intent, uint64, error)
}

// Lane is what the door knows of a lane.
type Lane struct {
	MaxEvent int // bytes of one message
	Routes   *schema.Routes
}

// Door is what the events need. Without publishers there is none.
type Door struct {
	Publishers []Publisher
	Lanes      map[string]Lane // all that publishers name
	Catalog    *schema.Catalog
	Queue      Queue
	Ledger     Ledger
	Owner      Owner // of the lanes
	List       List  // of those who must not be contacted; nil: nobody is blocked here

	Patience time.Duration // an answer of Queue and Ledger is waited for so long, at most 10 s, the default
}

// door takes events.
type door struct {
	lg         zerolog.Logger
	cfg        Door
	publishers []*publisher
	watcher    Watcher
}

func newDoor(lg zerolog.Logger, all Config) *door {
	d := &door{lg: lg, cfg: all.Door, watcher: all.Watcher}
	for _, p := range all.Door.Publishers {
		d.publishers = append(d.publishers, newPublisher(p, time.Now()))
		d.renew(d.publishers[len(d.publishers)-1])
	}
	return d
}

// serve answers at /events and below.
func (d *door) serve(w http.ResponseWriter, r *http.Request) {
	defer rescue(d.lg, w)
	if r.Method == http.MethodOptions {
		d.handshake(w, r)
		return
	}
	p, bad := d.who(r)
	if bad != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
		d.refuse(w, nil, *bad)
		return
	}
	switch r.Method {
	case http.MethodPost:
		d.post(w, r, p)
	case http.MethodGet, http.MethodHead:
		d.get(w, r, p)
	case http.MethodDelete:
		d.remove(w, r, p)
	default:
		w.Header().Set("Allow", methods)
		d.refuse(w, p, problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "Events are sent by POST, asked about by GET, and withdrawn by DELETE."})
	}
}

const methods = "DELETE, GET, HEAD, OPTIONS, POST"

// rescue answers for an event that made the gateway panic.
func rescue(lg zerolog.Logger, w http.ResponseWriter) {
	if p := recover(); p != nil {
		lg.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("a request made the gateway panic")
		refuse(w, problem{Status: http.StatusInternalServerError, Title: "A fault in Weir", Detail: "This request could not be processed because of a fault in Weir; its data may be unusual."})
	}
}

// refuse answers with a problem, and notes it.
func (d *door) refuse(w http.ResponseWriter, p *publisher, bad problem) {
	lg := d.lg.Debug() //nolint:zerologlint // sent below
	if p != nil {
		lg = lg.Str("publisher", p.Name)
	}
	lg.Int("status", bad.Status).Str("class", bad.Class).Str("detail", bad.Detail).Msg("request refused")
	refuse(w, bad)
}

// post takes events.
func (d *door) post(w http.ResponseWriter, r *http.Request, p *publisher) {
	lane := r.PathValue("name")
	if lane != "" && !p.feeds(lane) {
		d.refuse(w, p, problem{Status: http.StatusNotFound, Title: "Unknown lane", Detail: "There is no lane of this name that this token is for."})
		return
	}
	if compressed(r) {
		w.Header().Set("Accept-Encoding", "identity")
		d.refuse(w, p, isCompressed)
		return
	}
	m, bad := modeOf(r.Header)
	if bad != nil {
		d.refuse(w, p, *bad)
		return
	}
	if bad := p.enter(); bad != nil {
		d.refuse(w, p, *bad)
		return
	}
	defer p.work.leave()
	limit := int64(maxBatch) // how many events it has, and when they may come, is in the body
	if m != batch {
		limit = int64(d.maxEvent(p, lane))
		if wait := p.events.take(time.Now(), 1); wait > 0 {
			d.refuse(w, p, p.tooFast(wait))
			return
		}
	}
	body, bad := readBody(w, r, limit)
	if bad != nil {
		d.refuse(w, p, *bad)
		return
	}
	if m == batch {
		d.batch(r.Context(), w, p, lane, body)
		return
	}
	taken, bad := d.take(r.Context(), p, lane, m, r.Header, body)
	if bad != nil {
		d.refuse(w, p, *bad)
		return
	}
	w.Header().Set("Location", taken.Location)
	write(w, "application/json", http.StatusAccepted, taken)
}

// tooFast says when the publisher's rate lets it in again.
func (p *publisher) tooFast(wait time.Duration) problem {
	return later(http.StatusTooManyRequests, "Too fast", fmt.Sprintf("This publisher may send %d events a second.", p.Rate), wait)
}

// maxEvent is how large an event for the lane may be; for any of the publisher's,
// if that is not known yet.
func (d *door) maxEvent(p *publisher, lane string) int {
	if lane != "" {
		return d.cfg.Lanes[lane].MaxEvent
	}
	most := 0
	for _, name := range p.Lanes {
		most = max(most, d.cfg.Lanes[name].MaxEvent)
	}
	return most
}

// receipt is what became of one event.
type receipt struct {
	Index     *int   `json:"index,omitzero"` // in its batch, from 0
	Status    int    `json:"status"`         // as an answer of its own would have
	Lane      string `json:"lane,omitzero"`
	Intent    string `json:"intent,omitzero"`
	Location  string `json:"location,omitzero"`
	Duplicate bool   `json:"duplicate,omitzero"` // the lane had it already
	Title     string `json:"title,omitzero"`
	Detail    string `json:"detail,omitzero"`
	Class     string `json:"class,omitzero"`
	Pointer   string `json:"pointer,omitzero"`
}

// take checks one event and publishes it. lane is empty if the address names none.
func (d *door) take(ctx context.Context, p *publisher, lane string, m mode, h http.Header, body []byte) (got receipt, bad *problem) {
	defer func() { d.watcher.Taken(doorEvents, lane, resultOf(got, bad)) }()
	parcel, err := open(m, h, body, d.maxEvent(p, lane))
	if err == nil && lane == "" {
		if lane, err = p.laneOf(parcel.event); err == nil && len(parcel.body) > d.maxEvent(p, lane) {
			err = &schema.Refusal{Class: schema.ClassTooLarge, Reason: fmt.Sprintf("The event has %d bytes; lane %s takes %d at most.", len(parcel.body), lane, d.maxEvent(p, lane))}
		}
	}
	if err == nil {
		err = d.cfg.Catalog.Check(parcel.event)
	}
	if err == nil && !d.cfg.Lanes[lane].Routes.Handles(parcel.event.Type()) {
		err = &schema.Refusal{
			Class: schema.ClassNoRoute, Field: "type",
			Reason: fmt.Sprintf("Lane %s has no route for events of type %q.", lane, schema.Cut(schema.Mask(parcel.event.Type()), 120)),
		}
	}
	if err == nil {
		err = d.cfg.Lanes[lane].Routes.Passable(parcel.event)
	}
	if err == nil {
		_, err = schema.LifetimeOf(parcel.event)
	}
	if err != nil {
		return receipt{}, refusalOf(err, body)
	}
	intent := consumer.Key(lane, parcel.event.Source(), parcel.event.ID())
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Patience)
	defer cancel()
	sequence, duplicate, err := d.cfg.Queue.Publish(ctx, lane, parcel.event, parcel.header, parcel.body)
	if err != nil {
		if _, ok := errors.AsType[*schema.Refusal](err); !ok {
			d.lg.Warn().Err(err).Str("publisher", p.Name).Str("lane", lane).Str("intent", intent).Msg("an event was not taken")
		}
		return receipt{}, refusalOf(err, body)
	}
	d.lg.Debug().Str("publisher", p.Name).Str("lane", lane).Str("intent", intent).Bool("duplicate", duplicate).Msg("event taken")
	return receipt{
		Status: http.StatusAccepted, Lane: lane, Intent: intent, Duplicate: duplicate, Location: location(lane, intent, sequence),
	}, nil
}

// location is where the event's state is asked for.
func location(lane, intent string, sequence uint64) string {
	return "/events/" + intent + "?" + url.Values{"lane": {lane}, "at": {strconv.FormatUint(sequence, 10)}}.Encode()
}

// laneOf returns the lane of an event that was sent to none.
func (p *publisher) laneOf(ev event.Event) (string, error) {
	name, named := ev.Extensions()["weirlane"].(string)
	switch {
	case named && p.feeds(name):
		return name, nil
	case named:
		return "", &schema.Refusal{Class: classLane, Field: "weirlane", Reason: "There is no lane of the name in weirlane that this token is for."}
	case len(p.Lanes) == 1:
		return p.Lanes[0], nil
	default:
		return "", &schema.Refusal{Class: classLane, Reason: "The event names no lane: send it to /events/<lane>, or give it the attribute weirlane."}
	}
}

// classLane is an event that no lane can be told for. It never becomes a letter.
const classLane schema.Class = "lane"

// statuses of refusals; those of the others are 422.
var statuses = map[schema.Class]int{
	schema.ClassUndecodable: http.StatusBadRequest,
	schema.ClassVersion:     http.StatusBadRequest,
	schema.ClassTooLarge:    http.StatusRequestEntityTooLarge,
}

// refusalOf says why an event was not taken.
func refusalOf(err error, body []byte) *problem {
	if r, ok := errors.AsType[*schema.Refusal](err); ok {
		detail := r.Error()
		if r.Class == schema.ClassUndecodable && strings.HasPrefix(strings.TrimSpace(string(body[:min(len(body), 64)])), "[") {
			detail += " A list of events is sent as " + batchType + "."
		}
		return &problem{
			Status: cmp.Or(statuses[r.Class], http.StatusUnprocessableEntity), Title: "Event refused",
			Detail: detail, Class: string(r.Class), Pointer: r.Pointer(),
		}
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return &problem{Status: http.StatusRequestEntityTooLarge, Title: "Too long", Class: string(schema.ClassTooLarge), Detail: "The event is longer than the broker takes (its max_payload)."}
	case errors.Is(err, ErrFull):
		bad := later(http.StatusServiceUnavailable, "Lane full", "The lane has no room for more events; send it again later.", time.Minute)
		return &bad
	default:
		bad := later(http.StatusServiceUnavailable, "Not confirmed", "The broker has not confirmed the event; send it again: however often it is sent, it is one event.", again)
		return &bad
	}
}
