package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// ErrNoOwner is a lane that no running weir owns now.
var ErrNoOwner = errors.New("nobody owns the lane")

// Owner carries out what only the owner of a lane may do.
type Owner interface {
	// Control sends a consumer.Command to the lane's owner, and returns its
	// consumer.Reply; ErrNoOwner if there is none. A command without an answer may
	// have been obeyed.
	Control(ctx context.Context, lane string, command []byte) ([]byte, error)
}

// mostReason is how much of a publisher's reason is kept, in bytes.
const mostReason = 200

// target is the event that a publisher wants to withdraw.
type target struct {
	lane, intent string
	source, id   string // where the ledger does not know it
}

// remove withdraws an event that was not sent: DELETE.
func (d *door) remove(w http.ResponseWriter, r *http.Request, p *publisher) {
	ctx, cancel := context.WithTimeout(r.Context(), d.cfg.Patience)
	defer cancel()
	t, bad := d.target(ctx, r, p)
	if bad == nil {
		bad = d.withdraw(ctx, p, t, r.URL.Query().Get("reason"))
	}
	if bad != nil {
		d.refuse(w, p, *bad)
		return
	}
	s, err := d.state(ctx, t.lane, t.intent, 0)
	if err != nil { // it is withdrawn all the same
		s = state{Lane: t.lane, Intent: t.intent, State: consumer.Cancelled, Settled: true}
	}
	write(w, "application/json", http.StatusOK, s)
}

// target finds the event that is meant. One that is named by source and id need not
// be known: it is withdrawn ahead of its publication.
func (d *door) target(ctx context.Context, r *http.Request, p *publisher) (target, *problem) {
	q, bad := d.asked(r, p)
	if bad != nil {
		return target{}, bad
	}
	var found []target
	for _, lane := range q.lanes {
		s, err := d.state(ctx, lane, q.intent(lane), q.at)
		switch {
		case errors.Is(err, consumer.ErrGone):
			continue
		case err != nil:
			bad := d.silent(p, lane, err)
			return target{}, &bad
		}
		t := target{lane: lane, intent: s.Intent, source: q.source, id: q.id}
		if s.State == stateQueued && t.id == "" {
			t.source, t.id = s.queued.Source, s.queued.ID
		}
		if found = append(found, t); q.name != "" { // an intent is of one lane
			break
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1: // withdrawn in one, it would be sent in the others
		return target{}, &problem{Status: http.StatusBadRequest, Title: "Which lane?", Detail: fmt.Sprintf("%d lanes of this token have the event: name the one that is meant with lane=.", len(found))}
	case q.id == "":
		return target{}, &unknownEvent
	case len(q.lanes) > 1:
		return target{}, &problem{Status: http.StatusBadRequest, Title: "Which lane?", Detail: "No lane of this token has taken the event up yet: name the lane that it is for with lane=."}
	}
	lane := q.lanes[0]
	return target{lane: lane, intent: q.intent(lane), source: q.source, id: q.id}, nil
}

// withdraw asks the lane's owner to withdraw the event.
func (d *door) withdraw(ctx context.Context, p *publisher, t target, reason string) *problem {
	if reason = strings.TrimSpace(schema.Cut(reason, mostReason)); reason == "" {
		reason = "withdrawn by its publisher"
	}
	command, err := json.Marshal(consumer.Command{
		Verb: consumer.VerbCancel, Intent: t.intent, Source: t.source, ID: t.id, By: "publisher " + p.Name, Reason: reason,
	})
	if err != nil {
		return &unknownEvent
	}
	answer, err := d.cfg.Owner.Control(ctx, t.lane, command)
	var reply consumer.Reply
	if err == nil {
		err = json.Unmarshal(answer, &reply)
	}
	switch {
	case errors.Is(err, ErrNoOwner):
		bad := later(http.StatusServiceUnavailable, "Not withdrawn", "No weir works on the lane now, so the event was not withdrawn; ask again.", again)
		return &bad
	case err != nil:
		d.lg.Warn().Err(err).Str("publisher", p.Name).Str("lane", t.lane).Msg("a cancel was not answered")
		bad := later(http.StatusServiceUnavailable, "Not confirmed", "Whether the event was withdrawn is not known; ask again: however often it is withdrawn, it is withdrawn once.", again)
		return &bad
	case reply.Error == "":
		return nil
	}
	if words, ok := tooLate[reply.State]; ok {
		return &problem{Status: http.StatusConflict, Title: "Too late", Detail: words, State: reply.State}
	}
	d.lg.Warn().Str("publisher", p.Name).Str("lane", t.lane).Str("intent", t.intent).Str("error", reply.Error).Msg("an event was not withdrawn")
	bad := later(http.StatusServiceUnavailable, "Not withdrawn", "The event could not be withdrawn now; ask again.", time.Second)
	return &bad
}

// tooLate says why an event in a state cannot be withdrawn.
var tooLate = map[consumer.State]string{
	consumer.Started:    "The event is being sent; it cannot be withdrawn any more.",
	consumer.Created:    "The conversation was created.",
	consumer.Ended:      "The conversation was created, and is over.",
	consumer.Doubt:      "The event is in doubt: its conversation may have been created. The operator has to settle it.",
	consumer.Dead:       "The event was rejected, and will not be sent unless the operator sends it again.",
	consumer.Expired:    "The event is over: its time had passed, and nothing was sent.",
	consumer.Suppressed: "The event is over: a rule of the lane forbade it, and nothing was sent.",
}
