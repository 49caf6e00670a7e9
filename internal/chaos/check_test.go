package chaos_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/chaos"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(second float64) time.Time { return noon.Add(time.Duration(second * float64(time.Second))) }

// call is the proof of one conversation.
func call(intent string, from, to float64) []chaos.Line {
	made := chaos.Line{At: at(from), Event: "made", Provider: "oration", Channel: "telephony", ID: "c-" + intent, Intent: intent}
	ended := made
	ended.At, ended.Event = at(to), "ended"
	return []chaos.Line{made, ended}
}

func told(intent string, kinds ...string) (all []chaos.Outcome) {
	for _, kind := range kinds {
		o := chaos.Outcome{Intent: intent, Kind: kind}
		if kind == "created" || kind == "ended" {
			o.Conversation = "c-" + intent
		}
		all = append(all, o)
	}
	return all
}

// good is a round without a fault: a was called, b was refused, c is in doubt
// because its answer hid the conversation.
func good() chaos.Facts {
	f := chaos.Facts{
		Intents: map[string]consumer.Intent{
			"a": {Key: "a", State: consumer.Ended, Conversation: "c-a"},
			"b": {Key: "b", State: consumer.Dead},
			"c": doubt("c", 1, 2),
		},
		Made:   map[string]int{"a": 1, "c": 1},
		Past:   map[string]bool{"old": true},
		Limits: []chaos.Limit{{Provider: "oration", Channel: "telephony", Most: 2}},
	}
	for _, key := range []string{"a", "b", "c"} {
		f.Events = append(f.Events, chaos.Event{Lane: "acme", ID: "id-" + key, Key: key, Stored: true})
	}
	f.Proof = append(call("a", 0, 5), call("c", 1, 3)...)
	f.Proof[2].Hidden = true
	f.Outcomes = append(f.Outcomes, told("a", "created", "ended")...)
	f.Outcomes = append(f.Outcomes, told("b", "rejected")...)
	f.Outcomes = append(f.Outcomes, told("c", "doubt")...)
	return f
}

func doubt(key string, claimed, doubted float64) consumer.Intent {
	return consumer.Intent{Key: key, State: consumer.Doubt, Claimed: at(claimed), History: []consumer.Transition{
		{State: consumer.Started, At: at(claimed)}, {State: consumer.Doubt, At: at(doubted)},
	}}
}

func TestCheckGood(t *testing.T) {
	t.Parallel()
	want := chaos.Verdict{Events: 3, Ended: 1, Dead: 1, Doubts: 1}
	if diff := cmp.Diff(want, chaos.Check(good())); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

func TestCheckFindings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(f *chaos.Facts)
		want  []chaos.Find
	}{
		{"not in the stream", func(f *chaos.Facts) { f.Events[1].Stored = false }, []chaos.Find{chaos.Lost}},
		{"not in the ledger", func(f *chaos.Facts) { delete(f.Intents, "b"); f.Outcomes = append(f.Outcomes[:2], f.Outcomes[3]) }, []chaos.Find{chaos.Lost}},
		{"nobody was called", func(f *chaos.Facts) { f.Made["a"], f.Proof = 0, f.Proof[2:] }, []chaos.Find{chaos.Lost}},
		{"called twice", func(f *chaos.Facts) { f.Made["a"] = 2 }, []chaos.Find{chaos.Doubled}},
		{"a doubt called twice", func(f *chaos.Facts) { f.Made["c"] = 2 }, []chaos.Find{chaos.Doubled}},
		{"an old one called again", func(f *chaos.Facts) { f.Proof = append(f.Proof, call("old", 6, 7)...) }, []chaos.Find{chaos.Doubled}},
		{"dead, but called", func(f *chaos.Facts) { f.Made["b"] = 1 }, []chaos.Find{chaos.Wrong}},
		{"waiting", func(f *chaos.Facts) {
			f.Intents["b"] = consumer.Intent{Key: "b", State: consumer.Waiting}
			f.Outcomes = append(f.Outcomes[:2], f.Outcomes[3])
		}, []chaos.Find{chaos.Stuck}},
		{"a doubt where none may be", func(f *chaos.Facts) { f.Events[2].TakesID = true }, []chaos.Find{chaos.Stuck}},
		{"an outcome is missing", func(f *chaos.Facts) { f.Outcomes = f.Outcomes[1:] }, []chaos.Find{chaos.Untold}},
		{"the doubt is not told", func(f *chaos.Facts) { f.Outcomes = f.Outcomes[:3] }, []chaos.Find{chaos.Untold}},
		{"an outcome twice", func(f *chaos.Facts) { f.Outcomes = append(f.Outcomes, told("a", "ended")...) }, []chaos.Find{chaos.Twice}},
		{"another conversation", func(f *chaos.Facts) { f.Outcomes[0].Conversation = "x" }, []chaos.Find{chaos.Untold}},
		{"rejected and called", func(f *chaos.Facts) { f.Outcomes = append(f.Outcomes, told("a", "rejected")...) }, []chaos.Find{chaos.Untold}},
		{"an outcome of the past", func(f *chaos.Facts) { f.Outcomes = append(f.Outcomes, told("old", "ended")...) }, []chaos.Find{chaos.Twice}},
		{"a call for nobody", func(f *chaos.Facts) { f.Proof = append(f.Proof, call("x", 6, 7)...) }, []chaos.Find{chaos.Stranger}},
		{"over the limit", func(f *chaos.Facts) { f.Limits[0].Most = 1 }, []chaos.Find{chaos.Over}},
		{"a whole answer", func(f *chaos.Facts) { f.Proof[2].Hidden = false }, []chaos.Find{chaos.Unexplained}},
		{"not made, and not refused", func(f *chaos.Facts) { f.Made["c"], f.Proof = 0, f.Proof[:2] }, []chaos.Find{chaos.Unexplained}},
		{"disturbed too early", func(f *chaos.Facts) {
			f.Proof[2].Hidden = false
			f.Intents["c"] = doubt("c", 10, 12)
			f.Spans = []chaos.Span{{From: at(0), To: at(7)}}
		}, []chaos.Find{chaos.Unexplained}},
		{"disturbed too late", func(f *chaos.Facts) {
			f.Proof[2].Hidden = false
			f.Spans = []chaos.Span{{From: at(2.5)}}
		}, []chaos.Find{chaos.Unexplained}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := good()
			tt.spoil(&f)
			var got []chaos.Find
			for _, finding := range chaos.Check(f).Findings {
				got = append(got, finding.Kind)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckExplains(t *testing.T) {
	t.Parallel()
	tests := map[string]func(f *chaos.Facts){
		"a disturbance that lasts":        func(f *chaos.Facts) { f.Spans = []chaos.Span{{From: at(1.5)}} },
		"a disturbance just before":       func(f *chaos.Facts) { f.Spans = []chaos.Span{{From: at(-5), To: at(-.5)}} },
		"a disturbance within":            func(f *chaos.Facts) { f.Spans = []chaos.Span{{From: at(1.2), To: at(1.3)}} },
		"an error without a conversation": func(f *chaos.Facts) { f.Made["c"], f.Proof, f.Unmade = 0, f.Proof[:2], 1 },
	}
	for name, set := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := good()
			f.Proof[2].Hidden = false
			set(&f)
			if got := chaos.Check(f).Findings; got != nil {
				t.Errorf("got %v, want none", got)
			}
		})
	}
}

func TestCheckLimitAtTheSameMoment(t *testing.T) {
	t.Parallel()
	f := chaos.Facts{Limits: []chaos.Limit{{Provider: "oration", Channel: "telephony", Most: 1}}}
	for _, key := range []string{"a", "b", "c"} {
		f.Past = map[string]bool{}
		f.Events = append(f.Events, chaos.Event{Lane: "acme", ID: key, Key: key, Stored: true})
	}
	f.Proof = append(append(call("b", 5, 9), call("a", 0, 5)...), call("c", 9, 10)...)
	for _, finding := range chaos.Check(f).Findings {
		if finding.Kind == chaos.Over {
			t.Errorf("one after the other: %s", finding.Text)
		}
	}
	f.Proof[0].At = at(4.999)
	over := ""
	for _, finding := range chaos.Check(f).Findings {
		if finding.Kind == chaos.Over {
			over = finding.Text
		}
	}
	if !strings.Contains(over, "2 conversations at once") {
		t.Errorf("got %q, want two at once", over)
	}
}
