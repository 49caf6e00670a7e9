package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// oration is the API of Oration over a simulator's account.
type oration struct {
	sim *Simulator
	cfg Config
}

// routes implements api. The list of conversations is among the unknown paths.
func (o *oration) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v2/conversations", o.create)
	mux.HandleFunc("GET /api/v2/conversations/{id}", o.lookup)
	mux.HandleFunc("/api/", o.sim.unknown)
}

// failure implements api.
func (o *oration) failure(status int, text string) answer {
	return message(status, text)
}

// asked implements api.
func (o *oration) asked(body []byte) (all []Conversation) {
	items, err := parseBatch(body)
	if err != nil {
		return nil
	}
	fit, _ := sift(items, o.cfg.DNDSuffix)
	for _, w := range fit {
		all = append(all, w.conversation())
	}
	return all
}

// orationPlan is a plan with the choices that only Oration has.
type orationPlan struct {
	plan
	shape    string
	overflow string
	multi    bool // an overflow of OverflowMulti is a 207 rather than the usual success
}

// plan makes Oration's own choices.
func (o *oration) plan(p plan) orationPlan {
	return orationPlan{
		plan:     p,
		shape:    choose(o.cfg.Shape, p.own[0], ShapeWrapped, ShapeFlat),
		overflow: choose(o.cfg.Overflow, p.own[1], OverflowWhole, OverflowPartial, OverflowMulti),
		multi:    p.own[2] < 0.5,
	}
}

// create answers POST /conversations.
func (o *oration) create(w http.ResponseWriter, r *http.Request) {
	o.sim.serve(w, r, "create", streamCreate, func(p plan) answer {
		return o.respond(w, r, o.plan(p))
	})
}

// respond does what a create request asks for and returns its answer.
func (o *oration) respond(w http.ResponseWriter, r *http.Request, p orationPlan) answer {
	if !o.cfg.Auth.allows(r.Header) {
		return message(http.StatusUnauthorized, "Unauthorized")
	}
	body, refusal, ok := o.sim.body(w, r)
	if !ok {
		return refusal
	}
	asked, err := parseBatch(body)
	if err != nil {
		return message(http.StatusBadRequest, err.Error())
	}
	fit, refusals := sift(asked, o.cfg.DNDSuffix)
	var a answer
	o.sim.account.do(func(now time.Time) {
		a = o.open(now, fit, refusals, p)
	})
	return a
}

// open makes the conversations for which there are slots and composes the
// answer. It runs within the account's do, so that the slots counted are the
// slots taken.
func (o *oration) open(now time.Time, fit []want, refusals []string, p orationPlan) answer {
	s := o.sim
	if len(fit) > s.account.slots.free() && p.overflow == OverflowWhole {
		return o.limited(message(http.StatusTooManyRequests, fullMessage))
	}
	var left []Conversation // not made
	if p.refuse && len(fit) > 0 {
		i := p.rng.IntN(len(fit))
		left = append(left, fit[i].conversation())
		fit = slices.Delete(fit, i, i+1)
		refusals = append(refusals, "conversation could not be created")
		s.tally.fault(faultItemError)
	}
	status := o.cfg.Success
	free := s.account.slots.free()
	if len(fit) > free {
		status = overflowStatus(o.cfg, p, free)
		for _, w := range fit[free:] {
			left = append(left, w.conversation())
			refusals = append(refusals, fullMessage)
		}
		fit = fit[:free]
	}
	made := make([]*call, len(fit))
	for i, it := range fit {
		made[i] = s.account.add(now, uuid.NewString(), it, &s.account.slots)
	}
	a := o.limited(o.compose(made, refusals, status, p))
	s.account.record(made)
	s.courier.plan(made)
	if fault := p.strikes(len(made) > 0); fault != "" {
		s.account.refuse(now, left, fault)
	}
	return a
}

// fullMessage is what a provider without a free slot says.
const fullMessage = "Concurrent call limit reached for this workspace"

// overflowStatus returns the status of an answer that had more items than free
// slots and is not OverflowWhole. Without any result it is a 429 always.
func overflowStatus(cfg Config, p orationPlan, free int) int {
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
	o.sim.serve(w, r, "lookup", streamLookup, func(plan) answer {
		if !o.cfg.Auth.allows(r.Header) {
			return message(http.StatusUnauthorized, "Unauthorized")
		}
		return o.find(r.PathValue("id"))
	})
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

// limited adds the limit headers of the moment, which ride on 2xx and 429. It
// runs within the account's do.
func (o *oration) limited(a answer) answer {
	a.header = limitHeaders(o.cfg.Headers, o.cfg.Limit, o.sim.account.slots.free())
	return a
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
