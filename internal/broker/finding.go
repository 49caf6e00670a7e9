package broker

import "fmt"

// Grade says how much a finding matters.
type Grade int

// The grades. A problem breaks a promise, or keeps weir serve from starting; a
// warning is something that a person should know.
const (
	OK Grade = iota
	Warning
	Problem
)

// String returns the grade's mark.
func (g Grade) String() string {
	switch g {
	case OK:
		return "ok"
	case Warning:
		return "warning"
	default:
		return "problem"
	}
}

// Finding is one fact about the broker, and what to do about it.
type Finding struct {
	Grade Grade
	Check string // what was looked at
	Fact  string
	Next  string // what to do; empty if nothing
}

// findings collects them.
type findings []Finding

func (f *findings) ok(check, fact string, args ...any) {
	*f = append(*f, Finding{OK, check, fmt.Sprintf(fact, args...), ""})
}

func (f *findings) warn(check, next, fact string, args ...any) {
	*f = append(*f, Finding{Warning, check, fmt.Sprintf(fact, args...), next})
}

func (f *findings) problem(check, next, fact string, args ...any) {
	*f = append(*f, Finding{Problem, check, fmt.Sprintf(fact, args...), next})
}
