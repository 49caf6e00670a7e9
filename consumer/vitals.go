package consumer

import (
	"maps"
	"slices"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// AccountStatus is what an account of this process is doing. All of it is in memory:
// asking costs no request and waits for none.
type AccountStatus struct {
	Account  string
	Provider string
	Breaker  string // closed, half-open or open
	Refused  bool   // the provider refused the credentials last time
	MeanCall time.Duration
	Pools    []PoolStatus // of the channels that have a limit, by name
	Lanes    []LaneVitals // in the order of the configuration
}

// PoolStatus is the slots of one channel, or of all where channels are not told
// apart.
type PoolStatus struct {
	Channel string // empty: all
	Used    int
	Limit   int // in force, with what is kept for others
	Free    int // may be taken now
	Cause   string
	Blocked time.Duration // nothing may be taken for so long
}

// LaneVitals is a lane's status with its counts.
type LaneVitals struct {
	LaneStatus

	Working   int            // events that are being worked on
	Parked    int            // events that were read and wait in memory for a slot
	GivenBack map[string]int // events that the broker delivers again at their time, by cause
	Postponed map[string]int // events that are kept for later, by cause
}

// Vitals tells what each account is doing.
func (e *Engine) Vitals() []AccountStatus {
	all := make([]AccountStatus, 0, len(e.accounts))
	for _, a := range e.accounts {
		s := a.vitals(time.Now())
		for _, ln := range a.lanes {
			s.Lanes = append(s.Lanes, ln.vitals())
		}
		all = append(all, s)
	}
	return all
}

func (a *account) vitals(now time.Time) AccountStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := AccountStatus{
		Account: a.cfg.Name, Provider: a.cfg.Kind, Breaker: a.breaker.State(), Refused: a.refused, MeanCall: a.mean(),
	}
	for _, channel := range slices.Sorted(maps.Keys(a.pools)) {
		p := a.pools[channel]
		if !p.counted {
			continue
		}
		l := p.limiter.State()
		ps := PoolStatus{Channel: channel, Used: l.Held - l.Gone, Limit: l.Limit, Free: l.Free}
		if cause := causeOfLimits(l, now); cause != "" {
			ps.Cause, ps.Free = cause, 0
		}
		ps.Blocked = max(0, l.BlockedUntil.Sub(now))
		s.Pools = append(s.Pools, ps)
	}
	return s
}

// causeOfLimits is why nothing may be taken; empty if something may.
func causeOfLimits(l ratelimiter.State, now time.Time) string {
	if l.BlockedUntil.After(now) || l.Free == 0 && l.Limit > 0 {
		return obstacle(l.Why)
	}
	return ""
}

func (ln *lane) vitals() LaneVitals {
	v := LaneVitals{LaneStatus: ln.status()}
	v.GivenBack, v.Postponed = ln.waits.counts()
	ln.rooms.mu.Lock()
	v.Parked = ln.rooms.count
	ln.rooms.mu.Unlock()
	ln.mu.Lock()
	v.Working = len(ln.busy)
	ln.mu.Unlock()
	return v
}
