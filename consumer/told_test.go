package consumer_test

import (
	"fmt"
	"strings"

	"github.com/weirhq/weir/consumer"
)

// account is what somebody knows of an event who has nothing but its outcomes, in the
// order in which they were published, and drops what has an id that he knows.
type account struct {
	known  map[string]bool
	told   []consumer.OutcomeData
	newest consumer.OutcomeData // the one with the highest N
}

func newAccount() *account { return &account{known: make(map[string]bool)} }

// hear takes the next outcome.
func (s *account) hear(id string, data consumer.OutcomeData) {
	if s.known[id] {
		return
	}
	s.known[id] = true
	s.told = append(s.told, data)
	if data.N >= s.newest.N {
		s.newest = data
	}
}

// state is the kind that the event is of, by its outcomes; none if there are none.
func (s *account) state() string {
	if s == nil {
		return ""
	}
	return s.newest.Kind
}

// String is the story for a person.
func (s *account) String() string {
	var words []string
	for _, d := range s.told {
		words = append(words, fmt.Sprintf("%s (n %d)", d.Kind, d.N))
	}
	return strings.Join(words, ", ")
}
