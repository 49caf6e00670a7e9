package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/metrics"
)

func TestWaiting(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cause   string
		working int
		parked  int
		given   map[string]int
		later   map[string]int
		sample  metrics.LaneSample
		want    map[string]int
	}{
		"nothing":                         {want: map[string]int{"queue": 0}},
		"all are next":                    {sample: metrics.LaneSample{Pending: 7}, want: map[string]int{"queue": 7}},
		"no slot":                         {cause: "slot", sample: metrics.LaneSample{Pending: 7}, want: map[string]int{"queue": 0, "slot": 7}},
		"being worked on is no wait":      {working: 3, sample: metrics.LaneSample{Unacked: 3}, want: map[string]int{"queue": 0}},
		"each its own":                    {cause: "slot", working: 1, given: map[string]int{"window": 2}, sample: metrics.LaneSample{Pending: 5, Unacked: 4}, want: map[string]int{"queue": 0, "slot": 6, "window": 2}},
		"given back by somebody else":     {working: 1, sample: metrics.LaneSample{Unacked: 3}, want: map[string]int{"queue": 0, "slot": 2}},
		"of a lane that is paused":        {cause: "paused", sample: metrics.LaneSample{Pending: 1, Unacked: 3}, want: map[string]int{"queue": 0, "paused": 4}},
		"the sample is older":             {working: 5, given: map[string]int{"retry": 1}, want: map[string]int{"queue": 0, "retry": 1}},
		"read ahead":                      {parked: 4, sample: metrics.LaneSample{Unacked: 4}, want: map[string]int{"queue": 0, "slot": 4}},
		"what is postponed is not in it":  {later: map[string]int{"window": 9, "notbefore": 0}, want: map[string]int{"queue": 0, "window": 9}},
		"of one that says it waits alone": {given: map[string]int{"clock": 2}, later: map[string]int{"clock": 1}, sample: metrics.LaneSample{Unacked: 2}, want: map[string]int{"queue": 0, "clock": 3}},
	} {
		v := consumer.LaneVitals{
			LaneStatus: consumer.LaneStatus{Cause: tt.cause}, Working: tt.working, Parked: tt.parked, GivenBack: tt.given, Postponed: tt.later,
		}
		if diff := cmp.Diff(tt.want, metrics.Waiting(v, tt.sample)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// owner is what the owner of the account a sees: the lane l runs, m is held.
func owner() metrics.Snapshot {
	lane := func(name, state, cause string) consumer.LaneVitals {
		return consumer.LaneVitals{LaneStatus: consumer.LaneStatus{
			Lane: name, Account: "a", State: state, Cause: cause, Webhooks: consumer.HookCounts{Confirmed: 3},
		}, Working: 1}
	}
	return metrics.Snapshot{
		Leased: true, Connected: true, Trusted: true, Reconnects: 2, Owned: map[string]uint64{"a": 7},
		Clocks: map[string]time.Duration{"broker": -time.Second},
		Accounts: []consumer.AccountStatus{{
			Account: "a", Breaker: "open", Refused: true, MeanCall: time.Minute,
			Pools: []consumer.PoolStatus{{Channel: "telephone", Used: 3, Limit: 8, Free: 5}},
			Lanes: []consumer.LaneVitals{lane("l", "running", ""), lane("m", "held", "held")},
		}},
		Sample: &metrics.Sample{
			At: time.Now(), RoundTrip: time.Millisecond,
			Lanes: map[string]metrics.LaneSample{
				"l": {Pending: 2, Unacked: 1, Oldest: time.Now().Add(-time.Hour), Told: &metrics.Told{Waiting: 5, Undelivered: 6, Failing: true}},
				"m": {Pending: 9},
			},
		},
	}
}

func TestTheOwnerTellsOfItsAccount(t *testing.T) {
	t.Parallel()
	m := start(owner())
	has(t, m, map[string]float64{
		"weir_lease_held{}": 1, "weir_state_keeper{}": 0, "weir_account_owned{account=a}": 1, "weir_account_epoch{account=a}": 7,
		"weir_broker_connected{}": 1, "weir_broker_reconnects_total{}": 2, "weir_broker_round_trip_seconds{}": 0.001, "weir_broker_sample_failed{}": 0,
		"weir_clock_offset_seconds{clock=broker}": -1, "weir_clock_trusted{}": 1,
		"weir_slots_used{account=a,channel=telephone}": 3, "weir_slots_limit{account=a,channel=telephone}": 8, "weir_slots_free{account=a,channel=telephone}": 5,
		"weir_breaker_state{account=a,state=open}": 1, "weir_breaker_state{account=a,state=closed}": 0, "weir_credentials_refused{account=a}": 1, "weir_mean_call_seconds{account=a}": 60,
		"weir_lane_state{account=a,lane=l,state=running}": 1, "weir_lane_state{account=a,lane=l,state=held}": 0, "weir_lane_state{account=a,lane=m,state=held}": 1,
		"weir_events_waiting{account=a,cause=queue,lane=l}": 2, "weir_events_waiting{account=a,cause=held,lane=m}": 9, "weir_events_working{account=a,lane=l}": 1,
		"weir_events_pending{account=a,lane=l}": 2, "weir_events_unacknowledged{account=a,lane=l}": 1, "weir_oldest_event_age_seconds{account=a,lane=m}": 0,
		"weir_webhook_reports_total{account=a,lane=l,result=confirmed}": 3,
		"weir_outcomes_waiting{account=a,lane=l}":                       5, "weir_outcomes_undelivered{account=a,lane=l}": 6, "weir_outcomes_endpoint_failing{account=a,lane=l}": 1,
	})
	all := gather(t, m)
	if age := all["weir_oldest_event_age_seconds{account=a,lane=l}"]; age < 3600 || age > 4000 {
		t.Errorf("the oldest event: got %v s, want an hour", age)
	}
	for name := range all {
		if strings.HasPrefix(name, "weir_dead_letters") || strings.HasPrefix(name, "weir_stream_") {
			t.Errorf("%s is everybody's, and exported by an owner", name)
		}
	}
}

// keeper is what the replica sees that looks after the state while nobody owns the
// account a.
func keeper() metrics.Snapshot {
	return metrics.Snapshot{Keeper: true, Sample: &metrics.Sample{
		At: time.Now(), Failed: true,
		Lanes:   map[string]metrics.LaneSample{"l": {Unowned: true, Pending: 4, Unacked: 1}},
		Streams: map[string]metrics.Fill{"WEIR_DEAD": {Used: 10, Limit: 100}, "WEIR_LATER": {Used: 5, Limit: -1}},
		Letters: map[string]metrics.Letters{"l": {Dead: 2, Doubts: 3}},
	}}
}

func TestTheKeeperTellsWhatIsEverybodys(t *testing.T) {
	t.Parallel()
	m := start(keeper())
	has(t, m, map[string]float64{
		"weir_state_keeper{}": 1, "weir_account_owned{account=a}": 0, "weir_broker_sample_failed{}": 1,
		"weir_lane_state{account=a,lane=l,state=unowned}": 1, "weir_events_waiting{account=a,cause=owner,lane=l}": 5, "weir_events_pending{account=a,lane=l}": 4,
		"weir_stream_used_bytes{stream=WEIR_DEAD}": 10, "weir_stream_limit_bytes{stream=WEIR_DEAD}": 100, "weir_stream_used_bytes{stream=WEIR_LATER}": 5,
		"weir_dead_letters{account=a,lane=l}": 2, "weir_doubts_open{account=a,lane=l}": 3, "weir_dead_letters{account=a,lane=m}": 0,
	})
	if _, ok := gather(t, m)["weir_stream_limit_bytes{stream=WEIR_LATER}"]; ok {
		t.Error("a stream without a limit has one")
	}
}

// A replica that has just taken over an account that its sample still calls unowned
// exports nothing twice.
func TestNothingIsExportedTwice(t *testing.T) {
	t.Parallel()
	s, k := owner(), keeper()
	s.Keeper, s.Sample = true, k.Sample
	has(t, start(s), map[string]float64{
		"weir_lane_state{account=a,lane=l,state=running}": 1, "weir_lane_state{account=a,lane=l,state=unowned}": 1, "weir_events_pending{account=a,lane=l}": 4,
	})
}

// Of what nobody knows yet nothing is said: a 0 would look like good news.
func TestWithoutASampleNothingIsSaidOfTheBroker(t *testing.T) {
	t.Parallel()
	s := owner()
	s.Sample = nil
	for name := range gather(t, start(s)) {
		for _, sampled := range []string{"weir_events_waiting", "weir_events_pending", "weir_oldest", "weir_broker_round", "weir_broker_sample", "weir_outcomes", "weir_dead", "weir_stream"} {
			if strings.HasPrefix(name, sampled) {
				t.Errorf("%s is exported, and nobody knows it", name)
			}
		}
	}
}
