package simulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// operator returns the routes for whoever runs the simulators.
func (g *Group) operator() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simulator/report", g.serveReport)
	mux.HandleFunc("GET /simulator/conversations", g.serveConversations)
	mux.HandleFunc("POST /simulator/outage", g.serveOutage)
	mux.HandleFunc("POST /simulator/webhook", g.serveForgery)
	return http.NewCrossOriginProtection().Handler(mux)
}

// serveReport answers with the report, by provider if there are several.
func (g *Group) serveReport(w http.ResponseWriter, _ *http.Request) {
	var report any = g.Reports()
	if len(g.sims) == 1 {
		report = g.sims[0].Report()
	}
	answer{status: http.StatusOK, body: encode(report)}.write(w)
}

// serveConversations answers with one line of JSON for each conversation.
func (g *Group) serveConversations(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for _, c := range g.Conversations() {
		if err := enc.Encode(c); err != nil {
			return
		}
	}
}

// outageOrder is an operator's word on outages.
type outageOrder struct {
	Kind     string `json:"kind"`     // none: it is over
	For      string `json:"for"`      // a Go duration; empty: until it is ended
	Provider string `json:"provider"` // empty: each
}

// serveOutage begins or ends an outage.
func (g *Group) serveOutage(w http.ResponseWriter, r *http.Request) {
	var order outageOrder
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	dec.DisallowUnknownFields()
	err := dec.Decode(&order)
	if err == nil {
		err = g.carryOut(order)
	}
	if err != nil {
		message(http.StatusBadRequest, err.Error()).write(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// carryOut does what an operator ordered, for all providers or for none.
func (g *Group) carryOut(order outageOrder) error {
	until, err := order.until()
	if err != nil {
		return err
	}
	struck := slices.DeleteFunc(slices.Clone(g.sims), func(s *Simulator) bool {
		return order.Provider != "" && order.Provider != s.Provider()
	})
	if len(struck) == 0 {
		return fmt.Errorf("provider: there is no %q here", order.Provider)
	}
	for _, s := range struck {
		if order.Kind == "none" {
			s.ClearOutage()
		} else if err := s.SetOutage(order.Kind, until); err != nil {
			return err // of the kind, so that the first is the only one
		}
	}
	return nil
}

// until returns when the outage is to end, zero if nobody knows.
func (o outageOrder) until() (time.Time, error) {
	if o.For == "" || o.Kind == "none" {
		return time.Time{}, nil
	}
	d, err := time.ParseDuration(o.For)
	if err != nil {
		return time.Time{}, fmt.Errorf("for: %w", err)
	}
	if d <= 0 {
		return time.Time{}, errors.New("for: the outage must last")
	}
	return time.Now().Add(d), nil
}

// forgery is an operator's order to send a webhook that is not true.
type forgery struct {
	Conversation string `json:"conversation"`
	Intent       string `json:"intent"`
	Attempt      int    `json:"attempt"`
	Event        string `json:"event"` // empty: conversation.completed
}

// serveForgery sends a forged webhook.
func (g *Group) serveForgery(w http.ResponseWriter, r *http.Request) {
	var order forgery
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&order); err != nil {
		message(http.StatusBadRequest, err.Error()).write(w)
		return
	}
	for _, s := range g.sims {
		if s.courier != nil {
			s.courier.post(parcel{body: order.body()})
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	message(http.StatusBadRequest, "no webhooks are sent from here").write(w)
}

// body is the webhook that was ordered.
func (f forgery) body() []byte {
	vars := string(encode(map[string]string{"weir_intent": f.Intent, "weir_attempt": strconv.Itoa(f.Attempt)}))
	return encode(map[string]any{
		"eventId": "evt_forged", "eventType": cmp.Or(f.Event, eventCompleted),
		"payload": map[string]string{"id": f.Conversation, "conversationStatus": "completed", "dynamicVariables": vars},
	})
}
