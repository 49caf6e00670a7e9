package gateway

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/weirhq/weir/consumer"
)

// problem is a problem document (RFC 9457). It repeats nothing of the request but
// names, masked.
type problem struct {
	Type    string    `json:"type"`
	Title   string    `json:"title"`
	Status  int       `json:"status"`
	Detail  string    `json:"detail"`
	Class   string    `json:"class,omitzero"`   // of the dead letter that it would have been
	Pointer string    `json:"pointer,omitzero"` // RFC 6901: the place in the event
	Events  []receipt `json:"events,omitzero"`  // of a batch, in its order

	Contacts []contactReceipt `json:"contacts,omitzero"` // of a list of people, in its order

	State consumer.State `json:"state,omitzero"` // of an event that cannot be withdrawn

	retry time.Duration // Retry-After; 0: none
}

// later is a refusal of now.
func later(status int, title, detail string, retry time.Duration) problem {
	return problem{Status: status, Title: title, Detail: detail, retry: retry}
}

// refuse answers with a problem document.
func refuse(w http.ResponseWriter, p problem) {
	p.Type = "about:blank"
	if p.retry > 0 {
		w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(p.retry.Seconds()), 'f', 0, 64))
	}
	write(w, "application/problem+json", p.Status, p)
}

// nowhere is the answer to every address that leads nowhere: one text, so that it
// does not tell a wrong secret from a wrong lane.
func nowhere(w http.ResponseWriter) {
	refuse(w, problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is nothing at this address."})
}

// accept answers with a word.
func accept(w http.ResponseWriter, status int, word string) {
	write(w, "application/json", status, map[string]string{"status": word})
}

func write(w http.ResponseWriter, kind string, status int, body any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who does not listen any more needs no answer
}
