package simulator

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// anyreach is the API of Anyreach over a simulator's account.
type anyreach struct {
	sim *Simulator
	cfg AnyreachConfig
}

// routes implements api. Nothing cancels a call.
func (y *anyreach) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /core/conversations", y.create)
	mux.HandleFunc("GET /core/conversations/{id}", y.lookup)
	mux.HandleFunc("GET /core/conversations", y.list)
	mux.HandleFunc("/core/", y.sim.unknown)
}

// failure implements api.
func (y *anyreach) failure(status int, text string) answer {
	return answer{status: status, body: encode(map[string]string{"detail": text})}
}

// asked implements api.
func (y *anyreach) asked(body []byte) []Conversation {
	b, err := parseBooking(body, y.cfg.Unpublished)
	if err != nil {
		return nil
	}
	return []Conversation{b.conversation()}
}

// anyreachPlan is a plan with the choices that only Anyreach has.
type anyreachPlan struct {
	plan
	accepted string // body of a 202
	detail   string // of a 422
	original bool   // the answer to a known id has the status that its first one had
	tooMany  bool
	delayed  bool
}

// plan makes Anyreach's own choices.
func (y *anyreach) plan(p plan) anyreachPlan {
	return anyreachPlan{
		plan:     p,
		accepted: choose(y.cfg.Accepted, p.own[0], AcceptedWrapped, AcceptedBare, AcceptedEmpty),
		detail:   choose(y.cfg.Detail, p.own[1], DetailText, DetailList),
		original: choose(y.cfg.Replay, p.own[2], ReplayOK, ReplayOriginal) == ReplayOriginal,
		tooMany:  p.rng.Float64() < y.cfg.TooMany,
		delayed:  p.rng.Float64() < y.cfg.VisibleShare,
	}
}

// guarded takes a request of a kind through everything that comes before its
// own work, which is for good credentials only.
func (y *anyreach) guarded(w http.ResponseWriter, r *http.Request, kind string, stream uint64, respond func(anyreachPlan) answer) {
	y.sim.serve(w, r, kind, stream, func(p plan) answer {
		if status, text := y.cfg.Auth.refusal(r.Header); status != 0 {
			return y.failure(status, text)
		}
		return respond(y.plan(p))
	})
}

// create answers POST /core/conversations.
func (y *anyreach) create(w http.ResponseWriter, r *http.Request) {
	y.guarded(w, r, "create", streamAnyreachCreate, func(p anyreachPlan) answer {
		if p.tooMany {
			y.sim.tally.fault(faultTooMany)
			return y.failure(http.StatusTooManyRequests, "Too many requests")
		}
		body, refusal, ok := y.sim.body(w, r)
		if !ok {
			return refusal
		}
		b, err := parseBooking(body, y.cfg.Unpublished)
		if err != nil {
			return y.invalid(err, p.detail)
		}
		var a answer
		y.sim.account.do(func(now time.Time) {
			a = y.book(now, b, p)
		})
		return a
	})
}

// book makes the conversation that is asked for, or finds the one that has its
// id, and composes the answer. It runs within the account's do.
func (y *anyreach) book(now time.Time, b booking, p anyreachPlan) answer {
	account := y.sim.account
	if c := y.known(b.ID, now); c != nil {
		return y.compose(c, nil, now, p)
	}
	if b.Channel == channelText && account.texts.free() == 0 {
		return y.failure(http.StatusTooManyRequests, "Too many text sessions are open")
	}
	id := b.ID
	if _, taken := account.byID[id]; taken || id == "" {
		id = uuid.NewString()
	}
	c := account.add(now, id, b, y.slots(b.Channel))
	if p.delayed && b.Channel == channelTelephone {
		c.visible = now.Add(y.cfg.VisibleAfter)
	}
	made := []*call{c}
	a := y.compose(c, made, now, p)
	account.record(made)
	return a
}

// slots returns the slots of which a conversation needs one, nil for none.
func (y *anyreach) slots(channel string) *slots {
	switch channel {
	case channelTelephone:
		return &y.sim.account.slots
	case channelText:
		return &y.sim.account.texts
	default:
		return nil
	}
}

// known returns the conversation that can be found by an id at a time, nil if
// there is none. Call it within the account's do.
func (y *anyreach) known(id string, now time.Time) *call {
	c, ok := y.sim.account.byID[id]
	if !ok || c.visible.After(now) {
		return nil
	}
	return c
}

// compose writes the answer that names a conversation and strikes it with what
// the plan says. made holds the conversation if it is new: what is said of an
// old one is not changed by how a later answer fares.
func (y *anyreach) compose(c *call, made []*call, now time.Time, p anyreachPlan) answer {
	if !delivers(p.fault) {
		y.sim.strike(made, p.fault)
		return answer{broken: p.fault}
	}
	replay := len(made) == 0
	raw := y.named(c, now)
	a := begun(c, raw, replay && !p.original, p.accepted)
	switch {
	case p.fault == faultCut:
		a = y.sim.cutShort(a, p.plan, made, []json.RawMessage{raw})
	case p.slow:
		name(made, faultSlow) // counted with every other slow answer
	}
	return a
}

// begun returns the whole answer to a create: 202 for a telephone call, unless
// it is known and answered 200, and 200 for the other channels.
func begun(c *call, raw json.RawMessage, ok bool, accepted string) answer {
	if c.Channel != channelTelephone || ok {
		return answer{status: http.StatusOK, body: encode(greeting(c, raw))}
	}
	a := answer{status: http.StatusAccepted}
	switch accepted {
	case AcceptedWrapped:
		a.body = encode(map[string]json.RawMessage{"conversation": raw})
	case AcceptedBare:
		a.body = raw
	}
	return a
}

// room is the answer that lets somebody join a web call. The real token is a
// secret; a log that holds this one has leaked.
type room struct {
	Conversation json.RawMessage `json:"conversation"`
	Token        string          `json:"token"`
	URL          string          `json:"url"`
	RoomName     string          `json:"room_name"`
}

// welcome is the answer of the other channels.
type welcome struct {
	Conversation    json.RawMessage `json:"conversation"`
	StartingMessage *string         `json:"starting_message"`
}

// greeting returns the body of a create's 200.
func greeting(c *call, raw json.RawMessage) any {
	switch c.Channel {
	case channelWebRTC:
		return room{Conversation: raw, Token: joinToken(c), URL: roomURL, RoomName: "conversation-" + c.ID}
	case channelText:
		return welcome{Conversation: raw, StartingMessage: new("Hi, how can I help you?")}
	default:
		return welcome{Conversation: raw}
	}
}

// lookup answers GET /core/conversations/{id}.
func (y *anyreach) lookup(w http.ResponseWriter, r *http.Request) {
	y.guarded(w, r, "lookup", streamAnyreachLookup, func(anyreachPlan) answer {
		a := y.failure(http.StatusNotFound, "Conversation not found")
		y.sim.account.do(func(now time.Time) {
			if c := y.known(strings.ToLower(r.PathValue("id")), now); c != nil {
				a = answer{status: http.StatusOK, body: encode(y.record(c, now))}
			}
		})
		return a
	})
}

// invalid returns a 422, whose detail is a text or a list.
func (y *anyreach) invalid(err error, form string) answer {
	f, ok := errors.AsType[flaw](err)
	if !ok || form == DetailText {
		return y.failure(http.StatusUnprocessableEntity, err.Error())
	}
	return answer{status: http.StatusUnprocessableEntity, body: encode(map[string][]flaw{"detail": {f}})}
}

// refusal returns the answer to a request whose credentials are not good, and
// status 0 if they are.
func (a AnyreachAuth) refusal(h http.Header) (status int, text string) {
	token, organization := bearerToken(h), h.Get("X-Anyreach-Org")
	personal := strings.HasPrefix(token, "pat_")
	switch {
	case !accepts(token, a.Token):
		return http.StatusUnauthorized, "Invalid or missing credentials"
	case personal && organization == "":
		return http.StatusUnauthorized, "Token is missing the organization claim"
	case personal && !accepts(organization, a.Organization):
		return http.StatusForbidden, "Not a member of this organization"
	}
	return 0, ""
}
