package consumer_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirhq/weir/consumer"
)

// withdraw withdraws an event, as a rule one that was not sent yet.
func (s *storm) withdraw() {
	var open []*lead
	s.w.do(func() {
		open = slices.DeleteFunc(slices.Clone(s.leads), func(l *lead) bool {
			state := s.w.entries["l."+l.key].intent.State
			return state != consumer.Absent && state != consumer.Waiting
		})
	})
	if len(open) == 0 || s.r.IntN(4) == 0 {
		open = s.leads
	}
	s.cancel(open[s.r.IntN(len(open))], withdrawn)
}

// withdrawSoon withdraws an event that is published only later, whatever becomes of
// the command.
func (s *storm) withdrawSoon() {
	l := &lead{id: fmt.Sprintf("soon %d", len(s.leads))}
	l.key = consumer.Key("l", "/crm", l.id)
	s.leads, s.owed = append(s.leads, l), append(s.owed, l)
	s.cancel(l, withdrawnSoon)
}

func (s *storm) publishOwed() {
	for _, l := range s.owed {
		s.w.leadWith(l.id, map[string]any{"id": l.id, "phone": "+14155557777", "channel": "telephone"})
		s.w.do(func() { s.w.last().key = l.key })
	}
	s.owed = nil
}

func (s *storm) cancel(l *lead, f fault) {
	p := s.owner()
	if p == nil {
		return
	}
	c := consumer.Command{Verb: consumer.VerbCancel, Intent: l.key, By: "ana", Reason: "they have signed"}
	if strings.HasPrefix(l.id, "0") || strings.HasPrefix(l.id, "soon") { // the key is that of its source and id
		c.Source, c.ID = "/crm", l.id
	}
	r := command(s.t, p, c)
	s.w.do(func() {
		switch {
		case r.Error == "":
			s.w.meet(f)
			s.w.books.withdrawn[l.key] = true
		case r.State == consumer.Created, r.State == consumer.Ended, r.State == consumer.Started:
			s.w.meet(withdrawnLate)
		default:
			s.w.note("a cancel fails: %s", r.Error)
		}
	})
}
