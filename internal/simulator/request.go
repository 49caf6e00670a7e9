package simulator

import (
	"errors"
	"io"
	"net/http"
)

// maxBody is the largest create request that is read.
const maxBody = 4 << 20

// serve takes a request of a kind through outage, faults and latency; respond
// does what it asks for.
func (s *Simulator) serve(w http.ResponseWriter, r *http.Request, kind string, stream uint64, respond func(plan) answer) {
	p := s.manner.plan(stream, s.tally.request(kind))
	if s.interrupted(w, r) || s.struck(w, r, p) {
		return
	}
	wait(r.Context(), p.latency/2)
	a := respond(p)
	if a.status == http.StatusTooManyRequests {
		s.tally.refusal()
		a.retryAfter(s.manner.retryAfter)
	}
	a = s.slowed(a, p)
	wait(r.Context(), p.latency/2)
	s.deliver(w, r, a)
}

// unknown answers every path and method that the provider does not have.
func (s *Simulator) unknown(w http.ResponseWriter, r *http.Request) {
	s.tally.request("other")
	if s.interrupted(w, r) {
		return
	}
	s.deliver(w, r, s.api.failure(http.StatusNotFound, "Not Found"))
}

// body reads a create request's body. If it is not to be had, refusal is the
// answer and ok is false.
func (s *Simulator) body(w http.ResponseWriter, r *http.Request) (body []byte, refusal answer, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, s.api.failure(http.StatusRequestEntityTooLarge, "request body is too large"), false
	}
	if err != nil {
		return nil, s.api.failure(http.StatusBadRequest, "request body could not be read"), false
	}
	return body, answer{}, true
}
