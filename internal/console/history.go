package console

import "time"

// The history is an hour of minutes for each lane, in memory: it begins when this
// process does. Lanes beyond the first mostTracks have none.
const (
	minutes    = 60
	mostTracks = 1000
)

// minute is what one minute of a lane was like.
type minute struct {
	start       time.Time
	Seen        bool // there was a look
	Used, Limit int  // slots at most; the limit in force last
	Waiting     uint64
	Made        uint64 // conversations created
	Full        uint64 // 429s that are explained
	Odd         uint64 // 429s that are not
	Takeovers   uint64
}

// track is one lane's minutes, the newest last, and the counters as of the last look.
type track struct {
	ring  []minute
	known bool
	owner string
	last  Lane
}

// history is what was seen of all lanes. The board's mu guards it.
type history struct {
	since time.Time // when the first look was; zero: never
	lanes map[string]*track
}

// enter notes a look.
func (h *history) enter(o Overview) {
	if h.since.IsZero() {
		h.since = o.At
	}
	there := make(map[string]bool, len(o.Lanes))
	for _, l := range o.Lanes {
		there[l.Name] = true
		t := h.lanes[l.Name]
		if t == nil {
			if len(h.lanes) >= mostTracks {
				continue
			}
			t = &track{}
			h.lanes[l.Name] = t
		}
		t.enter(l, o.At)
	}
	for name := range h.lanes {
		if !there[name] {
			delete(h.lanes, name)
		}
	}
}

func (t *track) enter(l Lane, at time.Time) {
	start := at.Truncate(time.Minute)
	if n := len(t.ring); n == 0 || t.ring[n-1].start.Before(start) {
		t.ring = append(t.ring, minute{start: start})
		if len(t.ring) > minutes {
			t.ring = append(t.ring[:0], t.ring[1:]...)
		}
	}
	m := &t.ring[len(t.ring)-1]
	m.Seen, m.Limit, m.Waiting = true, l.Limit, l.Waiting
	m.Used = max(m.Used, l.Used)
	if t.known {
		same := t.owner == l.Owner && t.last.Epoch == l.Epoch
		m.Made += grown(t.last.Created, l.Created, same)
		m.Full += grown(t.last.Full, l.Full, same)
		m.Odd += grown(t.last.Odd, l.Odd, same)
		if l.Epoch > t.last.Epoch {
			m.Takeovers += l.Epoch - t.last.Epoch
		}
	}
	if l.Known() || !t.known { // one that nobody runs keeps its counters
		t.known, t.owner, t.last = true, l.Owner, l
	}
}

// grown is by how much a counter has grown, which begins anew with another owner.
func grown(before, now uint64, same bool) uint64 {
	if !same || now < before {
		return now
	}
	return now - before
}

// hour returns the minutes up to now, one after the other; those that were not seen
// are there too.
func (h *history) hour(lane string, now time.Time) []minute {
	all := make([]minute, minutes)
	first := now.Truncate(time.Minute).Add(-(minutes - 1) * time.Minute)
	for i := range all {
		all[i].start = first.Add(time.Duration(i) * time.Minute)
	}
	t := h.lanes[lane]
	if t == nil {
		return all
	}
	for _, m := range t.ring {
		if i := int(m.start.Sub(first) / time.Minute); !m.start.Before(first) && i < minutes {
			all[i] = m
		}
	}
	return all
}

// total adds up the last n minutes.
func total(hour []minute, n int) (all minute) {
	for _, m := range hour[max(0, len(hour)-n):] {
		all.Made += m.Made
		all.Full += m.Full
		all.Odd += m.Odd
		all.Takeovers += m.Takeovers
	}
	return all
}
