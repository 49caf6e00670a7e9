// Package scale says how many replicas there is work for.
//
// Neither the backlog nor its age can say that. Events that wait because every slot
// of their account is in use are not called sooner by more replicas, and one account
// is never spread over two of them. What counts of an account is
//
//	running + min(ready, free)
//
// the calls that run and those that could be begun at this moment: never more than
// the account has slots, and as many as that however long its queue is. The second
// term alone, which is what the replicas have not kept up with, is near zero as long
// as they are enough; whoever scaled by it would take replicas away as soon as they
// helped. Of one account a replica's worth counts and no more, so that there are
// never more replicas wanted than accounts with something to do.
//
// Each replica reports its own accounts; the functions here only add.
package scale

import "math"

// Format is the version of a Report. It rises when an older Weir would add a newer
// report wrongly.
const Format = 1

// Load is what one account could do now, by its owner.
type Load struct {
	Ready     int `json:"ready"`     // events that wait for a slot and for nothing else
	Free      int `json:"free"`      // slots that may be taken now; of a channel without a limit none are counted
	Startable int `json:"startable"` // calls that could be begun now and are not: min(ready, free)
	Running   int `json:"running"`   // slots in use
}

// Report is what one replica says of the accounts that it owns.
type Report struct {
	V        int              `json:"v"`
	Accounts map[string]*Load `json:"accounts"` // nil: it is not known yet
}

// Lane is what of a lane bears on its account's load.
type Lane struct {
	Ready   int  // as in Load
	Open    bool // nothing hinders it, so that a slot is free for it
	Limited bool // its calls hold slots
}

// Of adds up an account: its lanes, and the slots that its channels have together.
// A lane whose own channel is full begins nothing, whatever other channels have.
func Of(lanes []Lane, free, running int) Load {
	l := Load{Free: max(0, free), Running: max(0, running)}
	limited, unlimited := 0, 0
	for _, ln := range lanes {
		l.Ready += ln.Ready
		switch {
		case !ln.Open:
		case ln.Limited:
			limited += ln.Ready
		default:
			unlimited += ln.Ready
		}
	}
	l.Startable = min(limited, l.Free) + unlimited
	return l
}

// Sum is the load of all accounts.
type Sum struct {
	Wanted   int `json:"wanted"`   // replicas that there is work for; at least 1
	Accounts int `json:"accounts"` // that somebody owns
	Busy     int `json:"busy"`     // of these, with a call that runs or could be begun
	Load
}

// Add adds the accounts up, for replicas of so many calls at a time each.
func Add(accounts map[string]Load, slots int) Sum {
	sum := Sum{Accounts: len(accounts)}
	share := 0
	for _, l := range accounts {
		sum.Ready += l.Ready
		sum.Free += l.Free
		sum.Startable += l.Startable
		sum.Running += l.Running
		if n := l.Running + l.Startable; n > 0 {
			sum.Busy++
			share += min(n, slots)
		}
	}
	sum.Wanted = max(1, int(math.Ceil(float64(share)/float64(slots))))
	return sum
}
