package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/owner"
)

// From how many on something is worth a word.
const (
	notableForeign  = 3                // unexplained 429s within consumer.ForeignFor
	notableRefusals = 5                // events in a row of which no request could be made
	notableSilent   = 10               // ends in a row without a webhook
	notableTakings  = 4                // of an account within flappingFor
	flappingFor     = 10 * time.Minute // long enough for the longest lease
)

// waitWords say why events wait for their own sake.
var waitWords = []struct{ cause, words string }{
	{consumer.CauseWindow, "for the calling hours of their people"},
	{consumer.CauseNotBefore, "for the time that they name (notbefore)"},
	{consumer.CausePerson, "until it is known whether their person may be contacted"},
	{consumer.CauseDoubt, "while what became of their last request is looked up"},
	{consumer.CauseRetry, "because their last request was not taken; they are tried again soon"},
}

// notes says what is worth knowing of a lane beside its state: what slows it down,
// or will stop it.
func notes(s consumer.LaneStatus) []string {
	var all []string
	if s.Foreign >= notableForeign && s.Cause != consumer.CauseUnexplained {
		all = append(all, fmt.Sprintf("%d answers of the last %d min were 429 although slots should be free; somebody else may be using the account", s.Foreign, int(consumer.ForeignFor.Minutes())))
	}
	for _, w := range waitWords {
		if n := s.Waits[w.cause]; n > 0 {
			all = append(all, fmt.Sprintf("%s %s", waiting(n), w.words))
		}
	}
	if s.Refusals >= notableRefusals {
		all = append(all, fmt.Sprintf("of the last %d events no request could be made: %s", s.Refusals, s.Refusal))
	}
	if s.Silent >= notableSilent {
		all = append(all, fmt.Sprintf("no webhook told of the last %d ends of calls; see that the provider sends them to the gateway's address of this lane. Until then Weir asks, and slots are free later", s.Silent))
	}
	return all
}

// waiting begins a clause on events that wait.
func waiting(n int) string {
	if n == 1 {
		return "1 event waits"
	}
	return fmt.Sprintf("%d events wait", n)
}

// flapping says that an account changes hands too often; empty if it does not.
func flapping(s owner.Standing, now time.Time) string {
	n := 0
	for _, at := range append(slices.Clip(s.Past), s.Since) {
		if now.Sub(at) < flappingFor {
			n++
		}
	}
	if n < notableTakings {
		return ""
	}
	return fmt.Sprintf("its account was taken over %d times in the last %d min, and nothing is sent meanwhile: a weir serve starts again and again, or loses its lease because its machine or the way to the broker is too slow", n, int(flappingFor.Minutes()))
}
