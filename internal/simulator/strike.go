package simulator

import (
	"bytes"
	"encoding/json"
	"strings"
)

// delivers reports whether a request with this fault gets at least a part of
// its own answer.
func delivers(fault string) bool {
	switch fault {
	case faultAccepted500, faultAcceptedHang, faultReset:
		return false
	default:
		return true
	}
}

// cutShort returns an answer as one that ends before its body does. Of the
// conversations in it, hidden are those whose result, at the same place of
// results, is not complete by then.
func (s *Simulator) cutShort(a answer, p plan, shown []*call, results []json.RawMessage) answer {
	a.broken = faultCut
	// What is missing from a body without a byte is the chunk that ends it.
	a.chunked = p.chunked || len(a.body) == 0
	a.cut = int(p.cut * float64(len(a.body)))
	s.mark(shown, faultCut)
	for i, c := range shown {
		// The identifier in it makes each result unique in the body; in an
		// empty body there is none, and nothing arrives.
		c.Hidden = bytes.Index(a.body, results[i])+len(results[i]) > a.cut //nolint:gosec // one for each of shown
	}
	return a
}

// strike counts a fault and hides conversations with it.
func (s *Simulator) strike(calls []*call, fault string) {
	s.mark(calls, fault)
	for _, c := range calls {
		c.Hidden = true
	}
}

// mark counts a fault and names it in conversations.
func (s *Simulator) mark(calls []*call, fault string) {
	s.tally.fault(fault)
	name(calls, fault)
}

// name adds a fault to conversations.
func name(calls []*call, fault string) {
	for _, c := range calls {
		c.Fault = strings.TrimPrefix(c.Fault+"+"+fault, "+")
	}
}
