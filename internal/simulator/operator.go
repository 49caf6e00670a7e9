package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// operator returns the routes for whoever runs the simulator.
func (s *Simulator) operator() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simulator/report", s.serveReport)
	mux.HandleFunc("GET /simulator/conversations", s.serveConversations)
	mux.HandleFunc("POST /simulator/outage", s.serveOutage)
	return http.NewCrossOriginProtection().Handler(mux)
}

func (s *Simulator) serveReport(w http.ResponseWriter, r *http.Request) {
	s.deliver(w, r, answer{status: http.StatusOK, body: encode(s.Report())})
}

// serveConversations answers with one line of JSON for each conversation.
func (s *Simulator) serveConversations(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for _, c := range s.Conversations() {
		if err := enc.Encode(c); err != nil {
			return
		}
	}
}

// serveOutage begins or ends an outage.
func (s *Simulator) serveOutage(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Kind string `json:"kind"`
		For  string `json:"for"` // a Go duration; empty: until it is ended
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	dec.DisallowUnknownFields()
	err := dec.Decode(&order)
	if err == nil {
		err = s.order(order.Kind, order.For)
	}
	if err != nil {
		s.deliver(w, r, message(http.StatusBadRequest, err.Error()))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// order carries out an operator's word on outages.
func (s *Simulator) order(kind, lasting string) error {
	if kind == "none" {
		s.ClearOutage()
		return nil
	}
	if lasting == "" {
		return s.SetOutage(kind, time.Time{})
	}
	d, err := time.ParseDuration(lasting)
	if err != nil {
		return fmt.Errorf("for: %w", err)
	}
	if d <= 0 {
		return errors.New("for: the outage must last")
	}
	return s.SetOutage(kind, time.Now().Add(d))
}
