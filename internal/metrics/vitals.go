package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirhq/weir/consumer"
)

// vitals reads the present state at each scrape.
type vitals struct {
	now      func() Snapshot
	accounts []Account
}

// The states of a lane, as consumer.LaneStatus has them; unowned is that of a lane
// whose account nobody owns.
var laneStates = []string{"running", "waiting", "paused", "held", "stopped"}

const unowned = "unowned"

// breakerStates are those of a breaker.
var breakerStates = []string{"closed", "half-open", "open"}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Of the replica.
var (
	dLeased     = desc("weir_lease_held", "1 while this replica may act: its lease is in force.")
	dKeeper     = desc("weir_state_keeper", "1 on the replica that looks after the state of all.")
	dOwned      = desc("weir_account_owned", "1 on the replica that owns the account, 0 on the others.", "account")
	dEpoch      = desc("weir_account_epoch", "How often the account was taken over by any replica, ever. Exported by its owner.", "account")
	dConnected  = desc("weir_broker_connected", "1 while there is a connection to the broker.")
	dReconnects = desc("weir_broker_reconnects_total", "How often the connection to the broker was made again.")
	dRoundTrip  = desc("weir_broker_round_trip_seconds", "How long the broker took to answer, when it was last asked.")
	dSampleAge  = desc("weir_broker_sample_age_seconds", "How old the figures are that only the broker knows.")
	dSampleBad  = desc("weir_broker_sample_failed", "1 if some of these figures could not be had last time.")
	dOffset     = desc("weir_clock_offset_seconds", "How far this machine's clock is ahead of another, broker or account; below zero: behind.", "clock")
	dTrusted    = desc("weir_clock_trusted", "1 while this machine's clock and the broker's agree within 30 s.")
)

// Of an account, by its owner.
var (
	dUsed    = desc("weir_slots_used", "Slots in use.", "account", "channel")
	dLimit   = desc("weir_slots_limit", "Slots that there are: the limit in force.", "account", "channel")
	dFree    = desc("weir_slots_free", "Slots that may be taken at this moment.", "account", "channel")
	dBreaker = desc("weir_breaker_state", "1 for the state that the account's breaker is in.", "account", "state")
	dRefused = desc("weir_credentials_refused", "1 if the provider refused the credentials last time.", "account")
	dMean    = desc("weir_mean_call_seconds", "How long a conversation lasts, as far as is known.", "account")
)

// Of a lane, by the owner of its account; of a lane that nobody owns, by the replica
// that looks after the state.
var (
	dState    = desc("weir_lane_state", "1 for the state that the lane is in.", "lane", "account", "state")
	dDry      = desc("weir_lane_dry_run", "1 if the lane takes events and sends nothing.", "lane", "account")
	dWaiting  = desc("weir_events_waiting", "Events that wait, by cause.", "lane", "account", "cause")
	dWorking  = desc("weir_events_working", "Events that are being worked on.", "lane", "account")
	dPending  = desc("weir_events_pending", "Events in the lane's streams that were never delivered.", "lane", "account")
	dUnacked  = desc("weir_events_unacknowledged", "Events that were delivered and are not done.", "lane", "account")
	dOldest   = desc("weir_oldest_event_age_seconds", "How long ago the oldest event was published that is not done; what is postponed does not count. 0: there is none.", "lane", "account")
	dSettling = desc("weir_doubts_settling", "Doubts that settle themselves.", "lane", "account")
	dReports  = desc("weir_webhook_reports_total", "What the webhooks of the lane's provider told, by what became of it.", "lane", "account", "result")
	dTold     = desc("weir_outcomes_waiting", "Outcomes that were published and are not delivered to the lane's address.", "lane", "account")
	dUntold   = desc("weir_outcomes_undelivered", "Outcomes that were given up.", "lane", "account")
	dFailing  = desc("weir_outcomes_endpoint_failing", "1 while the lane's address takes no outcomes.", "lane", "account")
)

// Of everybody, by the replica that looks after the state.
var (
	dDead   = desc("weir_dead_letters", "Dead letters that are kept.", "lane", "account")
	dDoubts = desc("weir_doubts_open", "Doubts that wait for a person.", "lane", "account")
	dFill   = desc("weir_stream_used_bytes", "What a stream holds.", "stream")
	dRoom   = desc("weir_stream_limit_bytes", "What a stream may hold. A stream without a limit has none of these.", "stream")
)

// Describe implements prometheus.Collector.
func (v *vitals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		dLeased, dKeeper, dOwned, dEpoch, dConnected, dReconnects, dRoundTrip, dSampleAge, dSampleBad, dOffset, dTrusted,
		dUsed, dLimit, dFree, dBreaker, dRefused, dMean,
		dState, dDry, dWaiting, dWorking, dPending, dUnacked, dOldest, dSettling, dReports, dTold, dUntold, dFailing,
		dDead, dDoubts, dFill, dRoom,
	} {
		ch <- d
	}
}

// scrape sends metrics.
type scrape chan<- prometheus.Metric

func (ch scrape) gauge(d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (ch scrape) counter(d *prometheus.Desc, value uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func (ch scrape) flag(d *prometheus.Desc, on bool, labels ...string) {
	value := 0.0
	if on {
		value = 1
	}
	ch.gauge(d, value, labels...)
}

// one sends a metric for each state, 1 for the one that holds.
func (ch scrape) one(d *prometheus.Desc, states []string, is string, labels ...string) {
	for _, state := range states {
		ch.flag(d, state == is, append(slices.Clip(labels), state)...)
	}
}

// Collect implements prometheus.Collector.
func (v *vitals) Collect(metrics chan<- prometheus.Metric) {
	ch, s := scrape(metrics), v.now()
	ch.replica(s, v.accounts)
	sample := Sample{}
	if s.Sample != nil {
		sample = *s.Sample
		ch.gauge(dRoundTrip, sample.RoundTrip.Seconds())
		ch.gauge(dSampleAge, time.Since(sample.At).Seconds())
		ch.flag(dSampleBad, sample.Failed)
	}
	for _, a := range s.Accounts {
		ch.account(a)
		for _, ln := range a.Lanes {
			ls, known := sample.Lanes[ln.Lane]
			ch.lane(ln, ls, known && !ls.Unowned)
		}
	}
	for _, a := range v.accounts {
		for _, ln := range a.Lanes {
			ch.bystander(ln, a.Name, sample)
		}
	}
	for stream, f := range sample.Streams {
		ch.gauge(dFill, float64(f.Used), stream)
		if f.Limit > 0 {
			ch.gauge(dRoom, float64(f.Limit), stream)
		}
	}
}

func (ch scrape) replica(s Snapshot, accounts []Account) {
	ch.flag(dLeased, s.Leased)
	ch.flag(dKeeper, s.Keeper)
	ch.flag(dConnected, s.Connected)
	ch.counter(dReconnects, s.Reconnects)
	ch.flag(dTrusted, s.Trusted)
	for clock, ahead := range s.Clocks {
		ch.gauge(dOffset, ahead.Seconds(), clock)
	}
	for _, a := range accounts {
		epoch, owned := s.Owned[a.Name]
		ch.flag(dOwned, owned, a.Name)
		if owned {
			ch.gauge(dEpoch, float64(epoch), a.Name)
		}
	}
}

func (ch scrape) account(a consumer.AccountStatus) {
	ch.one(dBreaker, breakerStates, a.Breaker, a.Account)
	ch.flag(dRefused, a.Refused, a.Account)
	ch.gauge(dMean, a.MeanCall.Seconds(), a.Account)
	for _, p := range a.Pools {
		channel := p.Channel
		if channel == "" {
			channel = "all"
		}
		ch.gauge(dUsed, float64(p.Used), a.Account, channel)
		ch.gauge(dLimit, float64(p.Limit), a.Account, channel)
		ch.gauge(dFree, float64(p.Free), a.Account, channel)
	}
}

// lane sends what a lane of this replica does; what the broker knows of it only if
// that was sampled.
func (ch scrape) lane(v consumer.LaneVitals, s LaneSample, sampled bool) {
	lane, account := v.Lane, v.Account
	ch.one(dState, laneStates, v.State, lane, account)
	ch.flag(dDry, v.DryRun, lane, account)
	ch.gauge(dWorking, float64(v.Working), lane, account)
	ch.gauge(dSettling, float64(v.Settling), lane, account)
	w := v.Webhooks
	for result, n := range map[string]uint64{
		"received": w.Received, "unreadable": w.Unreadable, "unknown": w.Unknown, "confirmed": w.Confirmed,
		"denied": w.Denied, "settled": w.Settled, "named": w.Named, "dropped": w.Dropped,
	} {
		ch.counter(dReports, n, lane, account, result)
	}
	if !sampled {
		return
	}
	for cause, n := range Waiting(v, s) {
		ch.gauge(dWaiting, float64(n), lane, account, cause)
	}
	ch.backlog(lane, account, s)
}

func (ch scrape) backlog(lane, account string, s LaneSample) {
	ch.gauge(dPending, float64(s.Pending), lane, account)
	ch.gauge(dUnacked, float64(s.Unacked), lane, account)
	age := 0.0
	if !s.Oldest.IsZero() {
		age = max(0, time.Since(s.Oldest).Seconds())
	}
	ch.gauge(dOldest, age, lane, account)
	if s.Told != nil {
		ch.gauge(dTold, float64(s.Told.Waiting), lane, account)
		ch.gauge(dUntold, float64(s.Told.Undelivered), lane, account)
		ch.flag(dFailing, s.Told.Failing, lane, account)
	}
}

// bystander sends what the replica that looks after the state knows of a lane.
func (ch scrape) bystander(lane, account string, s Sample) {
	if ls := s.Lanes[lane]; ls.Unowned {
		ch.gauge(dState, 1, lane, account, unowned)
		ch.gauge(dWaiting, float64(ls.Pending+ls.Unacked), lane, account, consumer.CauseOwner)
		ch.backlog(lane, account, ls)
	}
	if s.Letters != nil {
		l := s.Letters[lane]
		ch.gauge(dDead, float64(l.Dead), lane, account)
		ch.gauge(dDoubts, float64(l.Doubts), lane, account)
	}
}
