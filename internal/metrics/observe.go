package metrics

import (
	"strconv"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
)

// finals are the kinds of an event's end without a conversation.
var finals = []string{"rejected", "expired", "suppressed", "cancelled"}

// results are those of a conversation, in the words of consumer.Conversation.
var results = []string{"completed", "unanswered", "transferred", "failed", "cancelled"}

// verdicts are the words for what an answer means for an event.
func verdicts() (words []string) {
	for v := consumer.VerdictCreated; v <= consumer.VerdictDoubt; v++ {
		words = append(words, v.String())
	}
	return words
}

// Answered implements consumer.Observer.
func (m *Metrics) Answered(a consumer.Answered) {
	if a.Barred {
		return
	}
	code := "none"
	if a.Status >= 100 && a.Status <= 599 {
		code = strconv.Itoa(a.Status)
	}
	m.requests.WithLabelValues(a.Account, code).Inc()
	m.duration.WithLabelValues(a.Account).Observe(a.Done.Sub(a.Began).Seconds())
	if a.Refused != ratelimiter.NotRefused {
		add(m.tallies.account(a.Account).refused[:], refusals, a.Refused.String())
	}
}

// Attempted implements consumer.Observer.
func (m *Metrics) Attempted(a consumer.Attempted) {
	if a.Answered != nil && a.Answered.Barred {
		return
	}
	add(m.tallies.lane(a.Lane).attempts[:], verdictWords, a.Verdict.String())
	if a.Verdict != consumer.VerdictCreated {
		return
	}
	if a.Queued > 0 {
		m.queued.WithLabelValues(a.Lane, a.Account).Observe(a.Queued.Seconds())
	}
	for _, w := range a.Waits {
		cause := oneOf(w.Cause, waitCauses)
		m.waits.WithLabelValues(a.Lane, a.Account, cause).Inc()
		m.waited.WithLabelValues(a.Lane, a.Account, cause).Add(max(0, w.For.Seconds()))
	}
}

// waitCauses are the causes of waits as the ledger has them.
var waitCauses = []string{"queue", "full", "unsent", "unauthorized", "stopped", "paused", "ledger", "window", "notbefore", "person", "redial"}

// Turned implements consumer.Observer.
func (m *Metrics) Turned(t consumer.Turned) {
	if t.Rule != "" {
		ruling := "never"
		if t.Kind == consumer.StepDefer {
			ruling = "later"
		}
		m.rules.WithLabelValues(t.Lane, t.Account, oneOf(t.Rule, consumer.Rules()), ruling).Inc()
	}
	if t.Second {
		m.tallies.lane(t.Lane).second.Add(1)
	}
	if t.From == t.To {
		return
	}
	switch t.To {
	case consumer.Created:
		m.tallies.lane(t.Lane).created.Add(1)
	case consumer.Ended:
		if t.From != consumer.Created { // its end was the first that was seen of it
			m.tallies.lane(t.Lane).created.Add(1)
		}
		m.ended.WithLabelValues(t.Lane, t.Account, oneOf(t.Result, results)).Inc()
		if t.Talked > 0 {
			m.seconds.WithLabelValues(t.Lane, t.Account).Add(t.Talked.Seconds())
		}
	case consumer.Doubt:
		m.tallies.lane(t.Lane).doubted.Add(1)
	case consumer.Dead, consumer.Expired, consumer.Suppressed, consumer.Cancelled:
		add(m.tallies.lane(t.Lane).finished[:], finals, consumer.OutcomeKind(t.To))
	}
}
