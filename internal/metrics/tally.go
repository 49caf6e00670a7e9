package metrics

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tallies are the counters that begin at 0 with the process for each lane and account,
// because alerts look at them: a first event would else not be seen as a rise. There
// are more than a dozen for each lane, most of which stay at 0, so they are plain
// numbers, of which metrics are made at a scrape.
type tallies struct {
	since    time.Time
	all      []Account
	lanes    map[string]*laneTally    // by name; fixed
	accounts map[string]*accountTally // the same
}

// laneTally is what is counted of a lane.
type laneTally struct {
	attempts                 [6]atomic.Uint64 // by verdictWords
	finished                 [4]atomic.Uint64 // by finals
	created, doubted, second atomic.Uint64
}

// accountTally is what is counted of an account.
type accountTally struct {
	refused [2]atomic.Uint64 // by refusals
	taken   atomic.Uint64
}

var (
	dAttempts = desc("weir_attempts_total", "Events that were part of a create request, by what the answer meant for them.", "lane", "account", "verdict")
	dCreated  = desc("weir_conversations_created_total", "Conversations that exist, each once.", "lane", "account")
	dFinished = desc("weir_events_finished_total", "Events that came to an end without a conversation: rejected, expired, suppressed or cancelled.", "lane", "account", "kind")
	dDoubted  = desc("weir_doubts_total", "Events that came into doubt.", "lane", "account")
	dSecond   = desc("weir_second_conversations_total", "Second conversations of one event that were found. Each is an alarm.", "lane", "account")
	dFull     = desc("weir_too_many_requests_total", "Answers that there is no slot: full, or unexplained while slots should be free.", "account", "kind")
	dTaken    = desc("weir_account_taken_total", "How often this replica took an account over.", "account")
)

// The words of those that are counted by one.
var (
	verdictWords = verdicts()
	refusals     = []string{"full", "unexplained"}
)

func newTallies(accounts []Account) *tallies {
	t := &tallies{since: time.Now(), all: accounts, lanes: make(map[string]*laneTally), accounts: make(map[string]*accountTally)}
	for _, a := range accounts {
		t.accounts[a.Name] = new(accountTally)
		for _, ln := range a.Lanes {
			t.lanes[ln] = new(laneTally)
		}
	}
	return t
}

// lane returns the tally of a lane. Of one that the configuration does not have,
// which no engine has either, nothing is exported.
func (t *tallies) lane(name string) *laneTally {
	if l := t.lanes[name]; l != nil {
		return l
	}
	return new(laneTally)
}

// account is lane for an account.
func (t *tallies) account(name string) *accountTally {
	if a := t.accounts[name]; a != nil {
		return a
	}
	return new(accountTally)
}

// add counts one of what a word stands for.
func add(counts []atomic.Uint64, words []string, word string) {
	if i := slices.Index(words, word); i >= 0 {
		counts[i].Add(1)
	}
}

// Describe implements prometheus.Collector.
func (t *tallies) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{dAttempts, dCreated, dFinished, dDoubted, dSecond, dFull, dTaken} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (t *tallies) Collect(ch chan<- prometheus.Metric) {
	one := func(d *prometheus.Desc, count *atomic.Uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetricWithCreatedTimestamp(d, prometheus.CounterValue, float64(count.Load()), t.since, labels...)
	}
	each := func(d *prometheus.Desc, counts []atomic.Uint64, words []string, labels ...string) {
		for i, word := range words {
			one(d, &counts[i], append(slices.Clip(labels), word)...)
		}
	}
	for _, a := range t.all {
		count := t.accounts[a.Name]
		one(dTaken, &count.taken, a.Name)
		each(dFull, count.refused[:], refusals, a.Name)
		for _, ln := range a.Lanes {
			count := t.lanes[ln]
			each(dAttempts, count.attempts[:], verdictWords, ln, a.Name)
			each(dFinished, count.finished[:], finals, ln, a.Name)
			one(dCreated, &count.created, ln, a.Name)
			one(dDoubted, &count.doubted, ln, a.Name)
			one(dSecond, &count.second, ln, a.Name)
		}
	}
}
