package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// taken is the answer to a batch of which every event is durable.
type taken struct {
	Status int       `json:"status"`
	Events []receipt `json:"events"`
}

// batch takes the events of a batch, one after the other: their order is that of
// their calls. It is answered 202 only if each of them is durable. Where the broker
// fails, the rest is not tried: it would overtake. So it is where they take long:
// sent again, those that are stored take less.
func (d *door) batch(ctx context.Context, w http.ResponseWriter, p *publisher, lane string, body []byte) {
	all, bad := split(body)
	if bad != nil {
		d.refuse(w, p, *bad)
		return
	}
	if wait := p.events.take(time.Now(), len(all)); wait > 0 {
		d.refuse(w, p, p.tooFast(wait))
		return
	}
	receipts := make([]receipt, len(all))
	refused, stopped := inTurn(len(all), d.cfg.Patience, func(i int) (bad *problem) {
		receipts[i], bad = d.take(ctx, p, lane, single, nil, all[i])
		return bad
	}, func(i int, bad *problem) {
		if bad != nil {
			receipts[i] = receipt{Status: bad.Status, Title: bad.Title, Detail: bad.Detail, Class: bad.Class, Pointer: bad.Pointer}
		}
		receipts[i].Index = &i
	})
	if refused == 0 {
		write(w, "application/json", http.StatusAccepted, taken{http.StatusAccepted, receipts})
		return
	}
	sum := problem{
		Status: http.StatusUnprocessableEntity, Title: "Events refused", Events: receipts,
		Detail: fmt.Sprintf("%d of %d events were not taken; each one's status is in events. Those with 202 are durable. The whole batch may be sent again: however often it is sent, each is one event.", refused, len(all)),
	}
	if stopped != nil {
		sum.Status, sum.Title, sum.retry = stopped.Status, "Events not confirmed", stopped.retry
	}
	d.refuse(w, p, sum)
}

// inTurn does the items of a list, one after the other, and notes of each what is
// wrong with it, nil if nothing is. Where the broker fails, or all of it takes longer
// than patience, the rest is not tried. It returns how many were refused, and why the
// rest was not tried, nil if all was.
func inTurn(n int, patience time.Duration, do func(i int) *problem, note func(i int, bad *problem)) (refused int, stopped *problem) {
	begun := time.Now()
	for i := range n {
		if stopped == nil && time.Since(begun) > patience {
			stopped = notTried("Those before this one took too long.", again)
		}
		bad := stopped
		if bad == nil {
			bad = do(i)
		}
		if bad != nil {
			refused++
		}
		note(i, bad)
		if bad != nil && bad.retry > 0 && stopped == nil {
			stopped = notTried("One before this one could not be stored.", bad.retry)
		}
	}
	return refused, stopped
}

// notTried is what becomes of items after one that was not stored.
func notTried(why string, retry time.Duration) *problem {
	bad := later(http.StatusServiceUnavailable, "Not tried", why, retry)
	return &bad
}
