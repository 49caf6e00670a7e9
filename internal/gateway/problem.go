package gateway

import (
	"encoding/json"
	"net/http"
)

// problem is a problem document (RFC 9457). It repeats nothing of the request.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// refuse answers with a problem document.
func refuse(w http.ResponseWriter, status int, title, detail string) {
	write(w, "application/problem+json", status, problem{"about:blank", title, status, detail})
}

// nowhere is the answer to every address that leads nowhere: one text, so that it
// does not tell a wrong secret from a wrong lane.
func nowhere(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "Not found", "There is nothing at this address.")
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
