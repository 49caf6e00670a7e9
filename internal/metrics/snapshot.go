package metrics

import (
	"time"

	"github.com/weirhq/weir/consumer"
)

// Snapshot is the present state of a replica. All of it is in memory.
type Snapshot struct {
	Leased     bool // the lease is in force
	Keeper     bool // this replica looks after the state
	Connected  bool
	Reconnects uint64
	Clocks     map[string]time.Duration // how far this host's is ahead, by the other clock's name
	Trusted    bool                     // the time of day can be relied on
	Owned      map[string]uint64        // the epochs of the accounts that this replica owns
	Accounts   []consumer.AccountStatus // of these
	Sample     *Sample                  // the newest; nil: none yet
}

// Sample is what the broker told. What is not this replica's to export is not in it.
type Sample struct {
	At        time.Time
	RoundTrip time.Duration
	Failed    bool // part of it could not be told, and is as it was before
	Lanes     map[string]LaneSample
	Streams   map[string]Fill    // by name; of the one that looks after the state
	Letters   map[string]Letters // by lane; the same
}

// LaneSample is what waits in the streams of one lane.
type LaneSample struct {
	Unowned bool // nobody owns its account
	Pending uint64
	Unacked uint64    // delivered and not done
	Oldest  time.Time // when the oldest event was published that is not done, by the broker's clock; zero: there is none
	Told    *Told     // how the delivery of its outcomes fares; nil: they go to no address
}

// Told is how the delivery of a lane's outcomes fares.
type Told struct {
	Waiting     uint64
	Undelivered int
	Failing     bool // the endpoint takes none
}

// Fill is how full a stream is, in bytes. A limit of 0 or less is none.
type Fill struct{ Used, Limit int64 }

// Letters are what waits for a person.
type Letters struct{ Dead, Doubts int }

// Waiting says why each event of a lane waits, by cause: what lies in its streams
// (may be a little older) and what the engine knows of it. What is being worked on
// does not wait.
func Waiting(v consumer.LaneVitals, s LaneSample) map[string]int {
	why := v.Cause
	if why == "" {
		why = consumer.CauseQueue
	}
	waiting := map[string]int{consumer.CauseQueue: 0}
	waiting[why] += int(min(s.Pending, 1<<31))
	rest := int(min(s.Unacked, 1<<31)) - v.Working - v.Parked
	for cause, n := range v.GivenBack {
		waiting[cause] += n
		rest -= n
	}
	if rest > 0 { // given back for want of a slot, or by a process before this one
		if v.Cause == "" {
			why = consumer.CauseSlot
		}
		waiting[why] += rest
	}
	if v.Parked > 0 {
		waiting[consumer.CauseSlot] += v.Parked
	}
	for cause, n := range v.Postponed {
		if n > 0 {
			waiting[cause] += n
		}
	}
	return waiting
}
