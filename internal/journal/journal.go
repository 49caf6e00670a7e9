// Package journal writes what the engine does as lines of the log: one wide line for
// each attempt, and one for each other change of an event that somebody may look for.
// docs/logs.md describes the lines; their messages and the names of their fields are
// an interface, and change only with a word in the CHANGELOG.
//
// The publishers' words (ids, sources, types) and the providers' are masked. Besides,
// [Masked] masks each text of each line that is written through it, whoever wrote it.
package journal

import (
	"cmp"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// Journal is an observer that writes lines.
type Journal struct {
	lg    zerolog.Logger
	trace func(consumer.Subject) string
}

// New returns a Journal. Trace names the trace of an event; nil: that of its
// traceparent, if it has one.
func New(lg zerolog.Logger, trace func(consumer.Subject) string) *Journal {
	if trace == nil {
		trace = publishers
	}
	return &Journal{lg: lg, trace: trace}
}

// publishers is the trace that an event's publisher began; empty: none.
func publishers(s consumer.Subject) string {
	if len(s.Trace) < 35 {
		return ""
	}
	return s.Trace[3:35]
}

// Answered implements consumer.Observer. A request is told by the lines of its
// attempts.
func (j *Journal) Answered(consumer.Answered) {}

// Attempted implements consumer.Observer: the wide line.
func (j *Journal) Attempted(a consumer.Attempted) {
	e := j.lg.WithLevel(urgency(a)) //nolint:zerologlint // sent below
	if e == nil {
		return
	}
	e = j.subject(e, a.Subject).Int("attempt", a.Claim)
	texts(e, "by", a.By)
	e.Stringer("verdict", a.Verdict).Str("state", string(a.State))
	texts(e, "conversation", a.Conversation, "cause", a.Cause, "reason", a.Reason)
	if a.Answered.Refused != ratelimiter.NotRefused {
		e.Stringer("refused", a.Answered.Refused)
	}
	if a.Answered.Status != 0 {
		e.Int("status", a.Answered.Status)
	}
	if n := len(a.Answered.Items); n > 1 {
		e.Int("items", n)
	}
	if a.Doubtful > 0 {
		e.Int("doubtful", a.Doubtful)
	}
	if !a.Until.IsZero() {
		e.Time("until", a.Until.UTC())
	}
	timed(e, a)
	e.Msg("attempt")
}

// timed adds how long things took, in seconds.
func timed(e *zerolog.Event, a consumer.Attempted) {
	seconds := func(name string, d time.Duration) {
		if d > 0 {
			e.Float64(name, rounded(d))
		}
	}
	seconds("queued_seconds", a.Queued)
	seconds("prepared_seconds", a.Claimed.Sub(a.Fetched))
	seconds("request_seconds", a.Answered.Done.Sub(a.Answered.Began))
	if !a.Answered.Sent.IsZero() {
		seconds("answer_seconds", a.Answered.Done.Sub(a.Answered.Sent))
	}
	if len(a.Waits) == 0 {
		return
	}
	waits := zerolog.Dict()
	for i, w := range a.Waits {
		total := w.For
		for _, other := range a.Waits[i+1:] {
			if other.Cause == w.Cause {
				total += other.For
			}
		}
		first := true
		for _, other := range a.Waits[:i] {
			first = first && other.Cause != w.Cause
		}
		if first && w.Cause != "" {
			waits.Float64(w.Cause, rounded(total))
		}
	}
	e.Dict("waits_seconds", waits)
}

// rounded is a duration in seconds, to the millisecond.
func rounded(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// urgency is the level of an attempt's line.
func urgency(a consumer.Attempted) zerolog.Level {
	switch {
	case a.State == consumer.Started, a.Verdict == consumer.VerdictDoubt, a.Verdict == consumer.VerdictUnauthorized:
		return zerolog.WarnLevel
	case a.Verdict == consumer.VerdictUnsent && !a.Answered.Barred, a.Answered.Refused == ratelimiter.Unexplained:
		return zerolog.WarnLevel
	default:
		return zerolog.InfoLevel
	}
}

// Turned implements consumer.Observer: a line for what is not an attempt's. The
// changes that an attempt's line tells are told for debugging only.
func (j *Journal) Turned(t consumer.Turned) {
	level, message := told(t)
	e := j.lg.WithLevel(level) //nolint:zerologlint // sent below
	if e == nil {
		return
	}
	e = j.subject(e, t.Subject)
	texts(e, "by", t.By)
	e.Stringer("step", t.Kind).Str("state", cmp.Or(string(t.To), "absent"))
	if t.Claim > 0 {
		e.Int("attempt", t.Claim)
	}
	texts(e, "conversation", t.Conversation, "cause", t.Cause, "rule", t.Rule, "reason", t.Reason)
	if !t.Until.IsZero() && (t.To == consumer.Waiting || t.From == t.To) {
		e.Time("until", t.Until.UTC())
	}
	if t.Kind == consumer.StepEnd {
		e.Str("result", t.Result)
		if t.Talked > 0 {
			e.Float64("talked_seconds", rounded(t.Talked))
		}
	}
	e.Msg(message)
}

// told is the level and the message of a change's line.
func told(t consumer.Turned) (zerolog.Level, string) {
	const info, debug = zerolog.InfoLevel, zerolog.DebugLevel
	if t.Second {
		return zerolog.ErrorLevel, "second conversation for one event"
	}
	if t.Cause == consumer.CausePerson { // again every few seconds
		return debug, "event waits for its person"
	}
	if t.Attempt {
		return debug, "change"
	}
	switch t.Kind {
	case consumer.StepEnd:
		return info, "conversation ended"
	case consumer.StepEvidence:
		return info, "conversation found"
	case consumer.StepDefer:
		return info, "event put off"
	case consumer.StepRefuse:
		return info, "event refused"
	case consumer.StepSuppress:
		return info, "event suppressed"
	case consumer.StepExpire:
		return info, "event expired"
	case consumer.StepCancel:
		return info, "event withdrawn"
	case consumer.StepStale, consumer.StepQuestion, consumer.StepPark:
		return zerolog.WarnLevel, "event in doubt"
	case consumer.StepSettle, consumer.StepDrop:
		return info, "settled by a person"
	case consumer.StepDecline:
		return info, "order declined"
	default:
		return debug, "change"
	}
}

// subject adds what the line is about.
func (j *Journal) subject(e *zerolog.Event, s consumer.Subject) *zerolog.Event {
	e.Str("account", s.Account).Str("lane", s.Lane).Str("intent", s.Intent)
	texts(e, "event_id", s.EventID, "event_source", s.EventSource, "event_type", s.EventType, "channel", s.Channel)
	texts(e, "trace_id", j.trace(s))
	return e
}

// texts adds each text that is not empty, masked, by its name.
func texts(e *zerolog.Event, namesAndTexts ...string) {
	for i := 0; i < len(namesAndTexts); i += 2 {
		if text := namesAndTexts[i+1]; text != "" { //nolint:gosec // they are pairs
			e.Str(namesAndTexts[i], schema.Cut(mask(text), mostText))
		}
	}
}

// mostText bounds a text of a line, in bytes.
const mostText = 500
