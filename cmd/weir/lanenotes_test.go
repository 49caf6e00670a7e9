package main

import (
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/owner"
)

func TestNotes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status consumer.LaneStatus
		want   string // of the only note; empty: there is none
	}{
		"nothing":               {consumer.LaneStatus{}, ""},
		"two refusals":          {consumer.LaneStatus{Recent: consumer.Recent{Foreign: 2, Refusals: 4, Silent: 9}}, ""},
		"somebody else":         {consumer.LaneStatus{Recent: consumer.Recent{Foreign: 3}}, "3 answers of the last 10 min were 429 although slots should be free"},
		"and the state says so": {consumer.LaneStatus{Cause: consumer.CauseUnexplained, Recent: consumer.Recent{Foreign: 3}}, ""},
		"outside hours":         {consumer.LaneStatus{Recent: consumer.Recent{Waits: map[string]int{consumer.CauseWindow: 1}}}, "1 event waits for the calling hours"},
		"for a retry":           {consumer.LaneStatus{Recent: consumer.Recent{Waits: map[string]int{consumer.CauseRetry: 12}}}, "12 events wait because their last request was not taken"},
		"a bad route":           {consumer.LaneStatus{Recent: consumer.Recent{Refusals: 5, Refusal: "no phone"}}, "of the last 5 events no request could be made: no phone"},
		"a silent webhook":      {consumer.LaneStatus{Recent: consumer.Recent{Silent: 10}}, "no webhook told of the last 10 ends"},
	} {
		got := notes(tt.status)
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: got %q, want nothing", name, got)
		case tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)):
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestFlapping(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := func(minutes ...int) (all []time.Time) {
		for _, m := range minutes {
			all = append(all, now.Add(-time.Duration(m)*time.Minute))
		}
		return all
	}
	for name, tt := range map[string]struct {
		standing owner.Standing
		want     bool
	}{
		"never taken":          {owner.Standing{}, false},
		"taken once":           {owner.Standing{Since: now}, false},
		"three times":          {owner.Standing{Since: now, Past: ago(4, 2)}, false},
		"four times":           {owner.Standing{Since: now, Past: ago(9, 4, 2)}, true},
		"four times, long ago": {owner.Standing{Since: now, Past: ago(30, 20, 2)}, false},
	} {
		if got := flapping(tt.standing, now) != ""; got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// What weir lanes shows as a reason, the console shows too: all of it.
func TestRowForConsole(t *testing.T) {
	t.Parallel()
	r := laneRow{Lane: "a", State: "running", Why: "because", Notes: []string{"a note"}, InFlight: 2, Recent: &consumer.Recent{Waits: map[string]int{consumer.CauseWindow: 2}}}
	if got, want := r.why(), "because; a note"; got != want {
		t.Errorf("why: got %q, want %q", got, want)
	}
	if l := r.forConsole(); !l.Blocked || l.Calls() {
		t.Error("all that waits is outside its hours: got a lane that calls")
	}
	r.Waiting = 1
	if l := r.forConsole(); l.Blocked {
		t.Error("another event may be sent: got a lane that does not call")
	}
	for cause, want := range map[string]bool{"": false, consumer.CauseSlot: false, consumer.CauseRoom: true, consumer.CauseUnexplained: true} {
		if got := stopsSending(cause); got != want {
			t.Errorf("cause %q: got %v, want %v", cause, got, want)
		}
	}
}
