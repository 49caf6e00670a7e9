package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// maxBody is the largest create request that is read.
const maxBody = 4 << 20

// oration is the API of Oration over a simulator's account.
type oration struct {
	sim *Simulator
}

// create answers POST /conversations.
func (o *oration) create(w http.ResponseWriter, r *http.Request) {
	s := o.sim
	p := s.cfg.plan(streamCreate, s.tally.request("create"))
	if s.interrupted(w, r) || s.struck(w, r, p) {
		return
	}
	wait(r.Context(), p.latency/2)
	a := s.slowed(o.respond(w, r, p), p)
	wait(r.Context(), p.latency/2)
	s.deliver(w, r, a)
}

// respond does what a create request asks for and returns its answer.
func (o *oration) respond(w http.ResponseWriter, r *http.Request, p plan) answer {
	if !o.sim.cfg.Auth.allows(r.Header) {
		return message(http.StatusUnauthorized, "Unauthorized")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return message(http.StatusRequestEntityTooLarge, "request body is too large")
	}
	if err != nil {
		return message(http.StatusBadRequest, "request body could not be read")
	}
	asked, err := parseBatch(body)
	if err != nil {
		return message(http.StatusBadRequest, err.Error())
	}
	fit, refusals := sift(asked, o.sim.cfg.DNDSuffix)
	var a answer
	o.sim.account.do(func(now time.Time) {
		a = o.open(now, fit, refusals, p)
	})
	if a.status == http.StatusTooManyRequests {
		o.sim.tally.refusal()
	}
	return a
}

// open makes the conversations for which there are slots and composes the
// answer. It runs within the account's do, so that the slots counted are the
// slots taken.
func (o *oration) open(now time.Time, fit []want, refusals []string, p plan) answer {
	s := o.sim
	if len(fit) > s.account.free() && p.overflow == OverflowWhole {
		return o.limited(message(http.StatusTooManyRequests, fullMessage))
	}
	if p.refuse && len(fit) > 0 {
		i := p.rng.IntN(len(fit))
		fit = slices.Delete(fit, i, i+1)
		refusals = append(refusals, "conversation could not be created")
		s.tally.fault(faultItemError)
	}
	status := s.cfg.Success
	free := s.account.free()
	if len(fit) > free {
		status = overflowStatus(s.cfg, p, free)
		for range len(fit) - free {
			refusals = append(refusals, fullMessage)
		}
		fit = fit[:free]
	}
	made := make([]*call, len(fit))
	for i, it := range fit {
		made[i] = s.account.take(now, uuid.NewString(), it)
	}
	a := o.limited(o.compose(made, refusals, status, p))
	s.account.record(made)
	return a
}

// fullMessage is what a provider without a free slot says.
const fullMessage = "Concurrent call limit reached for this workspace"

// overflowStatus returns the status of an answer that had more items than free
// slots and is not OverflowWhole. Without any result it is a 429 always.
func overflowStatus(cfg Config, p plan, free int) int {
	switch {
	case p.overflow == OverflowPartial || free == 0:
		return http.StatusTooManyRequests
	case p.multi:
		return http.StatusMultiStatus
	default:
		return cfg.Success
	}
}

// lookup answers GET /conversations/{id}.
func (o *oration) lookup(w http.ResponseWriter, r *http.Request) {
	s := o.sim
	p := s.cfg.plan(streamLookup, s.tally.request("lookup"))
	if s.interrupted(w, r) || s.struck(w, r, p) {
		return
	}
	wait(r.Context(), p.latency/2)
	a := message(http.StatusUnauthorized, "Unauthorized")
	if s.cfg.Auth.allows(r.Header) {
		a = o.find(r.PathValue("id"))
	}
	a = s.slowed(a, p)
	wait(r.Context(), p.latency/2)
	s.deliver(w, r, a)
}

// find returns the answer about one conversation.
func (o *oration) find(id string) answer {
	a := message(http.StatusNotFound, "Conversation not found")
	account := o.sim.account
	account.do(func(now time.Time) {
		if c, ok := account.byID[id]; ok {
			a = o.limited(answer{status: http.StatusOK, body: encode(describe(c, now))})
		}
	})
	return a
}

// unknown answers every other path and method, the list of conversations among
// them.
func (o *oration) unknown(w http.ResponseWriter, r *http.Request) {
	o.sim.tally.request("other")
	if o.sim.interrupted(w, r) {
		return
	}
	o.sim.deliver(w, r, message(http.StatusNotFound, "Not Found"))
}

// limited adds the limit headers of the moment, which ride on 2xx and 429. It
// runs within the account's do.
func (o *oration) limited(a answer) answer {
	s := o.sim
	a.header = limitHeaders(s.cfg.Headers, s.cfg.Limit, s.account.free())
	if a.status == http.StatusTooManyRequests {
		retryAfter(a.header, s.cfg.RetryAfter)
	}
	return a
}

// allows reports whether a request's credentials are good.
func (a Auth) allows(h http.Header) bool {
	good := func(got, right string) bool {
		return got != "" && (right == "" || got == right)
	}
	token, isBearer := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	bearer := isBearer && good(token, a.Bearer)
	pair := good(h.Get("x-api-key"), a.APIKey) && good(h.Get("x-workspace-id"), a.WorkspaceID)
	if a.Require == RequireBoth {
		return bearer && pair
	}
	return bearer || pair
}

// message returns an answer of one text.
func message(status int, text string) answer {
	return answer{status: status, body: encode(map[string]string{"message": text})}
}

// encode returns v as JSON. It is called with types of this package alone,
// which always have a JSON form.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("simulator: " + err.Error())
	}
	return b
}
