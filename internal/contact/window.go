package contact

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/weirhq/weir/consumer"
)

const (
	minutesOfDay = 24 * 60
	// horizon is how far ahead an opening is looked for: longer than any holidays.
	horizon = 60 * 24 * time.Hour
)

// days knows the holidays.
type days map[Date]bool

func newDays(holidays []Date) days {
	d := make(days, len(holidays))
	for _, h := range holidays {
		d[h] = true
	}
	return d
}

// holiday reports whether the day of this time is one. Only the date counts.
func (d days) holiday(t time.Time) bool {
	if len(d) == 0 {
		return false
	}
	year, month, day := t.Date()
	return d[Date{year, month, day}] || d[Date{0, month, day}]
}

// times is when one recipient may be contacted: while a window is open in each of
// the zones that they may be in.
type times struct {
	windows []Window
	days    days
	zones   []*time.Location
	spread  time.Duration
}

// Judge implements consumer.Rule. Those who wait for an opening are spread over
// the time after it, each intent always to the same moment, and never past half of
// the time until it closes.
func (s *times) Judge(intent string, now time.Time) consumer.Ruling {
	if s.open(now) {
		return consumer.Ruling{Verdict: consumer.ContactNow}
	}
	opening, ok := s.next(now)
	if !ok {
		return consumer.Ruling{Verdict: consumer.ContactNever, Rule: consumer.RuleWindow, Reason: fmt.Sprintf(
			"There is no time at which this person may be contacted: %s has no window open in the next %d days.", s.where(), int(horizon.Hours()/24))}
	}
	local := opening.In(s.zones[0])
	return consumer.Ruling{
		Verdict: consumer.ContactLater, Rule: consumer.RuleWindow,
		Until:  opening.Add(s.jitter(intent, opening)),
		Reason: fmt.Sprintf("outside the calling hours of %s; they open %s", s.where(), local.Format("Mon 2006-01-02 15:04 MST")),
	}
}

// where names the zones.
func (s *times) where() string {
	if n := len(s.zones); n > 1 {
		return fmt.Sprintf("%s and %d more zones, all of which this number may be in", s.zones[0], n-1)
	}
	return s.zones[0].String()
}

// jitter is how long after an opening an intent is sent.
func (s *times) jitter(intent string, opening time.Time) time.Duration {
	room := time.Duration(0)
	for room < 2*s.spread && s.open(opening.Add(room)) {
		room += time.Minute
	}
	room = min(s.spread, room/2)
	if room <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(intent))
	return time.Duration(h.Sum64() % uint64(room)) //nolint:gosec // below room, which is above 0
}

// open reports whether every zone has an open window.
func (s *times) open(t time.Time) bool {
	for _, zone := range s.zones {
		if !s.openIn(t.In(zone)) {
			return false
		}
	}
	return true
}

// openIn reports whether a window is open where the wall shows this time.
func (s *times) openIn(local time.Time) bool {
	return !s.days.holiday(local) && slices.ContainsFunc(s.windows, func(w Window) bool { return w.open(local, s.days) })
}

// open reports whether the window is open on a day that is no holiday.
func (w Window) open(local time.Time, holidays days) bool {
	minute := local.Hour()*60 + local.Minute()
	if w.From < w.To {
		return w.Days[local.Weekday()] && w.From <= minute && minute < w.To
	}
	if minute >= w.From {
		return w.Days[local.Weekday()]
	}
	eve := midnight(local).AddDate(0, 0, -1)
	return minute < w.To && w.Days[eve.Weekday()] && !holidays.holiday(eve)
}

// midnight is the beginning of the date that the wall shows, in a calendar without
// zones.
func midnight(local time.Time) time.Time {
	year, month, day := local.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// next returns the first time from now on at which every zone is open.
func (s *times) next(now time.Time) (time.Time, bool) {
	end := now.Add(horizon)
	for t := now; t.Before(end); {
		latest := t
		for _, zone := range s.zones {
			opening, ok := s.nextIn(zone, t, end)
			if !ok {
				return time.Time{}, false
			}
			if opening.After(latest) {
				latest = opening
			}
		}
		if s.open(latest) {
			return latest, true
		}
		t = latest // later than before: at t itself a zone was closed
	}
	return time.Time{}, false
}

// nextIn returns the first time from t on at which one zone is open. A window
// begins at its time by the wall clock, or where the clocks are changed to a time
// inside it.
func (s *times) nextIn(zone *time.Location, t, end time.Time) (time.Time, bool) {
	for t.Before(end) {
		local := t.In(zone)
		if s.openIn(local) {
			return t, true
		}
		_, change := local.ZoneBounds()
		if change.IsZero() || change.After(end) {
			change = end
		}
		if opening, ok := s.between(local, change); ok {
			return opening, true
		}
		t = change
	}
	return time.Time{}, false
}

// between returns the first opening after local and before the clocks are changed.
// Until then one offset holds, and the wall clock is arithmetic.
func (s *times) between(local, change time.Time) (time.Time, bool) {
	_, offset := local.Zone()
	day := midnight(local)
	for {
		var first time.Time
		for _, w := range s.windows {
			at := day.Add(time.Duration(w.From)*time.Minute - time.Duration(offset)*time.Second)
			if at.After(local) && at.Before(change) && (first.IsZero() || at.Before(first)) && s.openIn(at.In(local.Location())) {
				first = at
			}
		}
		if !first.IsZero() {
			return first, true
		}
		day = day.AddDate(0, 0, 1)
		if !day.Add(-time.Duration(offset) * time.Second).Before(change) {
			return time.Time{}, false
		}
	}
}
