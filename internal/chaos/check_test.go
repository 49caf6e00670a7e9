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
	made := chaos.Line{At: at(from), Event: "made", Provider: "oration", Channel: "telephony", ID: "c-" + intent, Intent: intent, Attempt: 1}
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
		Past:   map[string]int{"old": 1},
		Limits: []chaos.Limit{{Provider: "oration", Channel: "telephony", Most: 2}},
	}
	for _, key := range []string{"a", "b", "c"} {
		f.Events = append(f.Events, chaos.Event{Lane: "acme", ID: "id-" + key, Key: key, Stored: true})
	}
	f.Proof = append(call("a", 0, 5), call("c", 1, 3)...)
	f.Proof[2].Hidden, f.Proof[2].Fault = true, "cut"
	f.Outcomes = append(f.Outcomes, told("a", "created", "ended")...)
	f.Outcomes = append(f.Outcomes, told("b", "rejected")...)
	f.Outcomes = append(f.Outcomes, told("c", "doubt")...)
	return f
}

func doubt(key string, claimed, doubted float64) consumer.Intent {
	return consumer.Intent{Key: key, State: consumer.Doubt, Claims: 1, Claimed: at(claimed), History: []consumer.Transition{
		{State: consumer.Started, At: at(claimed)}, {State: consumer.Doubt, At: at(doubted)},
	}}
}

func TestCheckGood(t *testing.T) {
	t.Parallel()
	want := chaos.Verdict{Events: 3, Ended: 1, Dead: 1, Doubts: 1, Causes: []chaos.Cause{
		{Event: "id-c of acme (c)", Kind: chaos.CauseHidden, Text: "conversation c-c was made at 2026-01-02T12:00:01Z, and cut hid it"},
	}}
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
		{"damaged, and called twice", func(f *chaos.Facts) {
			f.Damaged, f.Made["a"] = true, 2
			delete(f.Intents, "a")
		}, []chaos.Find{chaos.Doubled}},
		{"damaged, and in doubt without a cause", func(f *chaos.Facts) { f.Damaged, f.Proof[2].Hidden = true, false }, []chaos.Find{chaos.Unexplained}},
		{"restored, but nothing was damaged", func(f *chaos.Facts) {
			in := f.Intents["c"]
			in.Reason = "restored: x"
			f.Intents["c"], f.Proof[2].Hidden = in, false
		}, []chaos.Find{chaos.Unexplained}},
		{"nobody was called", func(f *chaos.Facts) { f.Made["a"], f.Proof = 0, f.Proof[2:] }, []chaos.Find{chaos.Lost}},
		{"called twice", func(f *chaos.Facts) { f.Made["a"] = 2 }, []chaos.Find{chaos.Doubled}},
		{"called in an earlier round too", func(f *chaos.Facts) { f.Past["a"] = 1 }, []chaos.Find{chaos.Doubled}},
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
		{"an interrupted one called twice", func(f *chaos.Facts) {
			f.Maybe, f.Made["x"] = []string{"x"}, 2
			f.Proof = append(f.Proof, call("x", 6, 7)...)
		}, []chaos.Find{chaos.Doubled}},
		{"over the limit", func(f *chaos.Facts) { f.Limits[0].Most = 1 }, []chaos.Find{chaos.Over}},
		{"a whole answer", func(f *chaos.Facts) { f.Proof[2].Hidden = false }, []chaos.Find{chaos.Unexplained}},
		{"not made, and not refused", func(f *chaos.Facts) { f.Made["c"], f.Proof = 0, f.Proof[:2] }, []chaos.Find{chaos.Unexplained}},
		{"hidden in an earlier attempt", func(f *chaos.Facts) { f.Proof[2].Attempt = 2 }, []chaos.Find{chaos.Unexplained}},
		{"refused in an earlier attempt", func(f *chaos.Facts) {
			f.Made["c"], f.Proof = 0, append(f.Proof[:2], chaos.Line{Event: "refused", Intent: "c", Attempt: 2})
		}, []chaos.Find{chaos.Unexplained}},
		{"refused and called", func(f *chaos.Facts) {
			f.Proof[2].Hidden = false
			f.Proof = append(f.Proof, chaos.Line{Event: "refused", Intent: "c", Attempt: 1})
		}, []chaos.Find{chaos.Unexplained}},
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
	tests := map[string]struct {
		set  func(f *chaos.Facts)
		want chaos.Cause
	}{
		"a disturbance that lasts": {
			func(f *chaos.Facts) { f.Spans = []chaos.Span{{Name: "weir-kill", From: at(1.5)}} },
			chaos.Cause{Kind: chaos.CauseCut, Text: "weir-kill at 2026-01-02T12:00:01.5Z, claimed at 2026-01-02T12:00:01Z: lost"},
		},
		"a disturbance just before": {
			func(f *chaos.Facts) {
				f.Spans = []chaos.Span{{Name: "too early", From: at(-9), To: at(-4)}, {Name: "x", From: at(-5), To: at(-.5)}}
			},
			chaos.Cause{Kind: chaos.CauseCut, Text: "x at 2026-01-02T11:59:55Z, claimed at 2026-01-02T12:00:01Z: lost"},
		},
		"a disturbance within": {
			func(f *chaos.Facts) { f.Spans = []chaos.Span{{Name: "x", From: at(1.2), To: at(1.3)}} },
			chaos.Cause{Kind: chaos.CauseCut, Text: "x at 2026-01-02T12:00:01.2Z, claimed at 2026-01-02T12:00:01Z: lost"},
		},
		"an error without a conversation": {
			func(f *chaos.Facts) {
				f.Made["c"], f.Proof = 0, append(f.Proof[:2], chaos.Line{At: at(1.1), Event: "refused", Intent: "c", Attempt: 1, Fault: "html_502"})
			},
			chaos.Cause{Kind: chaos.CauseRefused, Text: "nothing was made at 2026-01-02T12:00:01.1Z: html_502"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := good()
			f.Proof[2].Hidden = false
			c := f.Intents["c"]
			c.Reason = "lost"
			f.Intents["c"] = c
			tt.set(&f)
			v := chaos.Check(f)
			if v.Findings != nil {
				t.Errorf("got %v, want none", v.Findings)
			}
			tt.want.Event = "id-c of acme (c)"
			if diff := cmp.Diff([]chaos.Cause{tt.want}, v.Causes); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckAnInterruptedPublisher(t *testing.T) {
	t.Parallel()
	f := good()
	f.Maybe, f.Made["x"] = []string{"x", "y"}, 1
	f.Proof = append(f.Proof, call("x", 6, 7)...)
	f.Outcomes = append(f.Outcomes, told("x", "created", "ended")...)
	if got := chaos.Check(f).Findings; got != nil {
		t.Errorf("got %v, want none", got)
	}
}

func TestCheckADamagedLedger(t *testing.T) {
	t.Parallel()
	f := good()
	f.Damaged, f.Proof[2].Hidden = true, false
	delete(f.Intents, "a")
	f.Intents["b"] = consumer.Intent{Key: "b", State: consumer.Started}
	in := f.Intents["c"]
	in.Reason = "restored: x"
	f.Intents["c"] = in
	want := chaos.Verdict{Events: 3, Doubts: 1, Forgotten: 2, Causes: []chaos.Cause{
		{Event: "id-c of acme (c)", Kind: chaos.CauseDamage, Text: "restored: x"},
	}}
	if diff := cmp.Diff(want, chaos.Check(f)); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

func TestCheckLimitAtTheSameMoment(t *testing.T) {
	t.Parallel()
	f := chaos.Facts{Limits: []chaos.Limit{{Provider: "oration", Channel: "telephony", Most: 1}}}
	for _, key := range []string{"a", "b", "c"} {
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
