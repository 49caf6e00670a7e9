package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/metrics"
	"github.com/weirhq/weir/ratelimiter"
)

// start returns metrics of two lanes that share the account a.
func start(now metrics.Snapshot) *metrics.Metrics {
	return metrics.New(metrics.Config{
		Version: "v1", Accounts: []metrics.Account{{Name: "a", Lanes: []string{"l", "m"}}},
		Now: func() metrics.Snapshot { return now },
	})
}

// gather returns the values of a scrape by name and labels, such as
// weir_lane_state{account=a,lane=l,state=held}; of a histogram its count.
func gather(t *testing.T, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, one := range f.Metric {
			var labels []string
			for _, l := range one.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[fmt.Sprintf("%s{%s}", f.GetName(), strings.Join(labels, ","))] = value(one)
		}
	}
	return all
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount())
	default:
		return m.Gauge.GetValue()
	}
}

// has compares some of a scrape's values.
func has(t *testing.T, m *metrics.Metrics, want map[string]float64) {
	t.Helper()
	all, got := gather(t, m), make(map[string]float64)
	for name := range want {
		if v, ok := all[name]; ok {
			got[name] = v
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func subject(lane string) consumer.Subject { return consumer.Subject{Lane: lane, Account: "a"} }

func TestWhatHappensIsCounted(t *testing.T) {
	t.Parallel()
	m := start(metrics.Snapshot{})
	began := time.Now()
	answer := consumer.Answered{Lane: "l", Account: "a", Began: began, Done: began.Add(time.Second), Status: 429, Refused: ratelimiter.Unexplained}
	m.Answered(answer)
	m.Answered(consumer.Answered{Lane: "l", Account: "a", Began: began, Done: began})
	m.Answered(consumer.Answered{Lane: "l", Account: "a", Barred: true}) // never sent
	m.Attempted(consumer.Attempted{Subject: subject("l"), Answered: &answer, Verdict: consumer.VerdictFull, Queued: time.Second})
	m.Attempted(consumer.Attempted{Subject: subject("l"), Verdict: consumer.VerdictCreated, Queued: 3 * time.Second, Waits: []consumer.Waited{
		{Cause: "queue", For: time.Second}, {Cause: "window", For: 2 * time.Second},
	}})
	m.Attempted(consumer.Attempted{Subject: subject("l"), Answered: &consumer.Answered{Barred: true}, Verdict: consumer.VerdictUnsent})
	turn := func(kind consumer.StepKind, from, to consumer.State, edit func(*consumer.Turned)) {
		turned := consumer.Turned{Subject: subject("m"), Kind: kind, From: from, To: to}
		if edit != nil {
			edit(&turned)
		}
		m.Turned(turned)
	}
	turn(consumer.StepEvidence, consumer.Started, consumer.Created, nil)
	turn(consumer.StepEvidence, consumer.Created, consumer.Created, func(t *consumer.Turned) { t.Second = true })
	turn(consumer.StepEnd, consumer.Created, consumer.Ended, func(t *consumer.Turned) { t.Result, t.Talked = "completed", time.Minute })
	turn(consumer.StepEnd, consumer.Started, consumer.Ended, func(t *consumer.Turned) { t.Result = "abducted by +14155550123" })
	turn(consumer.StepDoubt, consumer.Started, consumer.Doubt, nil)
	turn(consumer.StepReject, consumer.Started, consumer.Dead, nil)
	turn(consumer.StepSuppress, consumer.Absent, consumer.Suppressed, func(t *consumer.Turned) { t.Rule = consumer.RuleBlock })
	turn(consumer.StepDefer, consumer.Absent, consumer.Waiting, func(t *consumer.Turned) { t.Rule = consumer.RuleWindow })
	m.Took("a")
	m.Delivered("l", "refused")
	m.Served("events", "l", "POST", 202, time.Millisecond)
	m.Taken("events", "l", "accepted")
	has(t, m, map[string]float64{
		"weir_requests_total{account=a,code=429}":                               1,
		"weir_requests_total{account=a,code=none}":                              1,
		"weir_request_duration_seconds{account=a}":                              2,
		"weir_too_many_requests_total{account=a,kind=full}":                     0,
		"weir_too_many_requests_total{account=a,kind=unexplained}":              1,
		"weir_attempts_total{account=a,lane=l,verdict=full}":                    1,
		"weir_attempts_total{account=a,lane=l,verdict=created}":                 1,
		"weir_attempts_total{account=a,lane=l,verdict=unsent}":                  0,
		"weir_event_to_call_seconds{account=a,lane=l}":                          1,
		"weir_waits_total{account=a,cause=window,lane=l}":                       1,
		"weir_wait_seconds_total{account=a,cause=window,lane=l}":                2,
		"weir_wait_seconds_total{account=a,cause=queue,lane=l}":                 1,
		"weir_conversations_created_total{account=a,lane=m}":                    2,
		"weir_conversations_ended_total{account=a,lane=m,result=completed}":     1,
		"weir_conversations_ended_total{account=a,lane=m,result=other}":         1,
		"weir_conversation_seconds_total{account=a,lane=m}":                     60,
		"weir_second_conversations_total{account=a,lane=m}":                     1,
		"weir_doubts_total{account=a,lane=m}":                                   1,
		"weir_events_finished_total{account=a,kind=rejected,lane=m}":            1,
		"weir_events_finished_total{account=a,kind=suppressed,lane=m}":          1,
		"weir_contact_rulings_total{account=a,lane=m,rule=block,ruling=never}":  1,
		"weir_contact_rulings_total{account=a,lane=m,rule=window,ruling=later}": 1,
		"weir_account_taken_total{account=a}":                                   1,
		"weir_outcome_deliveries_total{account=a,lane=l,result=refused}":        1,
		"weir_gateway_requests_total{code=202,lane=l,method=POST,route=events}": 1,
		"weir_gateway_request_duration_seconds{route=events}":                   1,
		"weir_gateway_events_total{door=events,lane=l,result=accepted}":         1,
		"weir_build_info{goversion=" + goVersion(t, m) + ",version=v1}":         1,
	})
}

// goVersion is the version of Go that the metrics name.
func goVersion(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	for name := range gather(t, m) {
		if rest, ok := strings.CutPrefix(name, "weir_build_info{goversion="); ok {
			return rest[:strings.IndexByte(rest, ',')]
		}
	}
	t.Fatal("no weir_build_info")
	return ""
}

// Whatever strangers, providers and publishers say, the number of series is bounded,
// and nothing that they say stands in one.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := start(metrics.Snapshot{})
	say := func(i int) {
		word := fmt.Sprintf("+1415555%04d", i)
		s := consumer.Subject{Lane: "l", Account: "a", Intent: word, EventID: word, EventType: word, EventSource: word, Channel: word}
		m.Answered(consumer.Answered{Lane: "l", Account: "a", Channel: word, Status: 1000 + i, Stop: word})
		m.Attempted(consumer.Attempted{Subject: s, Verdict: consumer.VerdictCreated, Reason: word, Conversation: word, By: word, Waits: []consumer.Waited{{Cause: word}}})
		m.Turned(consumer.Turned{Subject: s, From: consumer.Created, To: consumer.Ended, Result: word, Rule: word, Cause: word, Reason: word, By: word})
		m.Served(word, word, word, 404, 0)
		m.Taken(word, word, word)
		m.Delivered("l", word)
	}
	say(0)
	before := gather(t, m)
	for i := range 200 {
		say(i)
	}
	after := gather(t, m)
	if len(after) != len(before) {
		t.Errorf("series: got %d after one of each, %d after 200", len(before), len(after))
	}
	for name := range after {
		if strings.Contains(name, "1415") {
			t.Errorf("a stranger's word stands in %s", name)
		}
	}
}

func TestHandlerSpeaksBothFormats(t *testing.T) {
	t.Parallel()
	m := start(metrics.Snapshot{})
	for accept, want := range map[string]string{
		"":                             "text/plain",
		"application/openmetrics-text": "application/openmetrics-text",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q: got %d, %s; want 200, %s", accept, w.Code, got, want)
		}
		if want == "application/openmetrics-text" && !strings.HasSuffix(w.Body.String(), "# EOF\n") {
			t.Errorf("OpenMetrics does not end in # EOF")
		}
	}
}

// What alerts look at is there from the start, and a lane of which nothing happens
// costs next to nothing.
func TestWhatAlertsLookAtBeginsAtZero(t *testing.T) {
	t.Parallel()
	want := map[string]float64{"weir_account_taken_total{account=a}": 0}
	for _, kind := range []string{"full", "unexplained"} {
		want["weir_too_many_requests_total{account=a,kind="+kind+"}"] = 0
	}
	for _, lane := range []string{"l", "m"} {
		for _, verdict := range []string{"created", "full", "unsent", "rejected", "unauthorized", "doubt"} {
			want["weir_attempts_total{account=a,lane="+lane+",verdict="+verdict+"}"] = 0
		}
		for _, kind := range []string{"rejected", "expired", "suppressed", "cancelled"} {
			want["weir_events_finished_total{account=a,kind="+kind+",lane="+lane+"}"] = 0
		}
		for _, name := range []string{"conversations_created", "doubts", "second_conversations"} {
			want["weir_"+name+"_total{account=a,lane="+lane+"}"] = 0
		}
	}
	has(t, start(metrics.Snapshot{}), want)
}

func TestALaneOfWhichNothingHappensNeedsNoMetrics(t *testing.T) {
	// Not parallel: it measures the allocations of all.
	made := func(lanes int) float64 {
		a := metrics.Account{Name: "a"}
		for i := range lanes {
			a.Lanes = append(a.Lanes, fmt.Sprint("lane-", i))
		}
		return testing.AllocsPerRun(3, func() {
			metrics.New(metrics.Config{Accounts: []metrics.Account{a}, Now: func() metrics.Snapshot { return metrics.Snapshot{} }})
		})
	}
	if each := (made(1000) - made(0)) / 1000; each > 3 {
		t.Errorf("a lane of which nothing happens has %.1f allocations, want its tally alone", each)
	}
}
