package console

import "time"

// Overview is what all lanes are doing.
type Overview struct {
	At    time.Time
	Lanes []Lane // in the order of weir.yaml
	// Trouble is what is wrong beyond the lanes, in whole sentences; empty: nothing.
	Trouble []string
	Stale   bool // it is of At, and no newer look has come to an end since
}

// The states of a lane.
const (
	Running    = "running"
	Waiting    = "waiting"
	Paused     = "paused"
	Held       = "held"
	Stopped    = "stopped"
	NotRunning = "not running"
	Unknown    = "unknown"
)

// Lane is what one lane is doing. The counters are its owner's, since it began.
type Lane struct {
	Name, Label       string
	Provider, Account string
	Owner             string // the weir serve that runs it; empty: nobody
	Epoch             uint64 // how often its account was taken over
	State             string
	Why               string   // what it waits for, or why it stands still; empty: nothing
	Notes             []string // what is worth knowing besides
	Blocked           bool     // nothing is sent, whatever the slots say
	DryRun            bool
	Breaker           string // closed, half-open or open; empty: not known
	Used, Limit       int    // slots; Limit 0: it needs none
	Waiting           uint64 // events that were never delivered
	InFlight          uint64 // delivered and not done
	Doubts            int    // that wait for a person
	Settling          int    // doubts that settle themselves
	Dead              int
	Created           uint64 // conversations
	Full, Odd         uint64 // 429s that are explained, and that are not
}

// Known reports whether somebody who runs the lane has told how it is.
func (l Lane) Known() bool { return l.State != NotRunning && l.State != Unknown }

// Calls reports whether events of the lane are called, or would be if there were
// any: a full lane calls as well as it may.
func (l Lane) Calls() bool { return (l.State == Running || l.State == Waiting) && !l.Blocked }

// Busy reports whether there is anything to do.
func (l Lane) Busy() bool { return l.Waiting+l.InFlight > 0 || l.Used > 0 }

// Tone is the colour of the lane's state.
func (l Lane) Tone() string {
	switch {
	case l.State == Paused:
		return "calm"
	case !l.Calls() && l.State == Waiting:
		return "wait"
	case !l.Calls():
		return "bad"
	case len(l.Notes) > 0:
		return "wait"
	default:
		return "good"
	}
}

// slotsBar draws the slots in use.
type slotsBar struct {
	Words string    // the same in words
	Share float64   // in percent
	Ticks []float64 // where one slot ends and the next begins, in percent; few, or none
}

// mostTicks is how many slots are drawn one by one.
const mostTicks = 50

// Slots draws the slots in use against the limit.
func (l Lane) Slots() slotsBar { //nolint:revive // for the templates alone
	s := slotsBar{Words: l.SlotWords()}
	if l.Limit <= 0 {
		return s
	}
	if l.Known() {
		s.Share = min(100, 100*float64(l.Used)/float64(l.Limit))
	}
	for i := 1; i < l.Limit && l.Limit <= mostTicks; i++ {
		s.Ticks = append(s.Ticks, 100*float64(i)/float64(l.Limit))
	}
	return s
}

// SlotWords says how many slots are in use.
func (l Lane) SlotWords() string {
	switch {
	case l.Limit == 0:
		return "no limit"
	case !l.Known():
		return count(l.Limit, "slot", "slots") + ", use not known"
	default:
		return countOf(l.Used, l.Limit)
	}
}

// LaneDetail is what the page of one lane tells besides.
type LaneDetail struct {
	Routes   []Route
	Facts    []Fact    // settings in force, in words
	Webhooks []Fact    // counts, since its owner began; nil: it has no address for them
	Delivery *Delivery // nil: its outcomes go to no address
	Recent   []Outcome // the newest first
}

// Fact is a name with its value.
type Fact struct{ Name, Value string }

// Route is one of a lane's routes.
type Route struct {
	Type, When string
	Request    []string // the fields that it sets
}

// Delivery is how a lane's outcomes fare that go to an address.
type Delivery struct {
	Waiting     uint64
	Retrying    int
	Undelivered int
	Since       time.Time // when it began to fail; zero: it does not
	Reason      string
}

// Outcome is what became of an event, as its publisher is told.
type Outcome struct {
	At     time.Time
	Kind   string // created, ended, rejected, doubt, expired, cancelled, suppressed
	Lane   string
	Intent string // the event's, for its page; empty: not known
	Event  string // its id, masked
	Words  string // the reason or the result
}

// Release is what the release of a held lane would do, or has done.
type Release struct {
	Lane    string
	Held    bool
	Since   time.Time // when it was held
	Why     string    // what was expected and what was found
	Before  time.Time // events born earlier, and not known, come into doubt
	Running bool      // after it: somebody runs the lane
	Seen    bool      // and obeys
}
