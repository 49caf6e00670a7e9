package consumer

import (
	"strings"
	"testing"
	"time"
)

// noon is a moment with a monotonic part.
var noon = time.Now()

// look is a sample taken at noon+at, of a clock that this host's is ahead of, by
// a round trip of this length whose answer was made in its middle.
func look(at, ahead, trip time.Duration) Sample {
	received := noon.Add(at)
	return Sample{Sent: received.Add(-trip), Received: received, Shown: received.Round(0).Add(-trip/2 - ahead)}
}

func TestH25SamplesHaveTheirUncertainty(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		s         Sample
		low, high time.Duration
		off       time.Duration
	}{
		"equal":                         {look(0, 0, 0), 0, 0, 0},
		"equal, a slow answer":          {look(0, 0, 10*time.Second), -5 * time.Second, 5 * time.Second, 0},
		"ahead":                         {look(0, time.Minute, 0), time.Minute, time.Minute, time.Minute},
		"ahead, a slow answer":          {look(0, time.Minute, 10*time.Second), 55 * time.Second, 65 * time.Second, 55 * time.Second},
		"behind, a slow answer":         {look(0, -time.Minute, 10*time.Second), -65 * time.Second, -55 * time.Second, -55 * time.Second},
		"less ahead than the trip":      {look(0, 4*time.Second, 10*time.Second), -time.Second, 9 * time.Second, 0},
		"whole seconds":                 {Sample{Sent: noon, Received: noon, Shown: noon.Round(0), Step: time.Second}, -time.Second, 0, 0},
		"whole seconds, ahead":          {Sample{Sent: noon, Received: noon, Shown: noon.Round(0).Add(-3 * time.Second), Step: time.Second}, 2 * time.Second, 3 * time.Second, 2 * time.Second},
		"received before it was sent":   {Sample{Sent: noon.Add(time.Second), Received: noon, Shown: noon.Round(0)}, 0, 0, 0},
		"this host's clock, set by -1h": {setBack(look(0, time.Minute, 2*time.Second), time.Hour), -3541 * time.Second, -3539 * time.Second, -3539 * time.Second},
	} {
		if low, high := tt.s.Ahead(); low != tt.low || high != tt.high || tt.s.Off() != tt.off {
			t.Errorf("%s: got ahead by %v to %v, off by %v; want %v to %v, %v", name, low, high, tt.s.Off(), tt.low, tt.high, tt.off)
		}
	}
}

// A clock that is set is noticed without another look.
func TestH25AClockThatIsSet(t *testing.T) {
	t.Parallel()
	s := look(0, time.Minute, 2*time.Second)
	for name, tt := range map[string]struct{ day, elapsed, low time.Duration }{
		"at once":        {0, 0, 59 * time.Second},
		"later":          {time.Hour, time.Hour, 59 * time.Second},
		"set right":      {time.Hour - time.Minute, time.Hour, -time.Second},
		"set by an hour": {time.Hour, 0, 59*time.Second + time.Hour},
	} {
		if low, high := s.after(tt.day, tt.elapsed); low != tt.low || high != tt.low+2*time.Second {
			t.Errorf("%s: got %v to %v, want %v and two seconds more", name, low, high, tt.low)
		}
	}
}

// setBack is the sample where the host's clock was set back after it was sent,
// and before it was received. A time without its monotonic part is all that a
// test can turn.
func setBack(s Sample, by time.Duration) Sample {
	trip := s.Received.Sub(s.Sent)
	s.Received = s.Received.Round(0).Add(-by)
	s.Sent = s.Received.Add(-trip)
	return s
}

func TestH25Dates(t *testing.T) {
	t.Parallel()
	const date = "Sat, 21 Nov 2026 09:45:00 GMT"
	for name, tt := range map[string]struct {
		header map[string][]string
		want   bool
	}{
		"a date":              {map[string][]string{"Date": {date}}, true},
		"none":                {nil, false},
		"two":                 {map[string][]string{"Date": {date, date}}, false},
		"no date":             {map[string][]string{"Date": {"now"}}, false},
		"of another zone":     {map[string][]string{"Date": {"Sat, 21 Nov 2026 09:45:00 CET"}}, false},
		"an answer was kept":  {map[string][]string{"Date": {date}, "Age": {"7"}}, false},
		"an impossible month": {map[string][]string{"Date": {"Sat, 21 Foo 2026 09:45:00 GMT"}}, false},
	} {
		s, ok := DateSample(tt.header, noon, noon)
		if ok != tt.want || ok && (!s.Shown.Equal(time.Date(2026, 11, 21, 9, 45, 0, 0, time.UTC)) || s.Step != time.Second) {
			t.Errorf("%s: got %+v, %v; want %v", name, s, ok, tt.want)
		}
	}
}

func TestH25Trust(t *testing.T) {
	t.Parallel()
	type seen struct {
		name string
		s    Sample
	}
	broker := func(at, ahead, trip time.Duration) seen { return seen{BrokerClock, look(at, ahead, trip)} }
	acme := func(at, ahead, trip time.Duration) seen { return seen{"acme", look(at, ahead, trip)} }
	const year = 365 * 24 * time.Hour
	for name, tt := range map[string]struct {
		seen  []seen
		names []string
		after time.Duration // noon, when it is asked
		want  string        // in the error; empty: trusted
	}{
		"nothing known":              {want: "has not been compared with the broker's"},
		"the provider alone":         {seen: []seen{acme(0, 0, 0)}, names: []string{"acme"}, want: "has not been compared"},
		"agrees":                     {seen: []seen{broker(0, 0, time.Second)}},
		"29 s":                       {seen: []seen{broker(0, 29*time.Second, 0)}},
		"31 s":                       {seen: []seen{broker(0, 31*time.Second, 0)}, want: "31s ahead of the broker's"},
		"31 s, but who can tell":     {seen: []seen{broker(0, 31*time.Second, 4*time.Second)}},
		"a year behind":              {seen: []seen{broker(0, -year, 0)}, want: "8760h0m0s behind the broker's"},
		"the provider differs":       {seen: []seen{broker(0, 0, 0), acme(0, year, 0)}, names: []string{"acme"}, want: "8760h0m0s ahead of acme's"},
		"another's provider differs": {seen: []seen{broker(0, 0, 0), acme(0, year, 0)}, names: []string{"globex"}},
		"it agrees again":            {seen: []seen{broker(0, year, 0), broker(time.Second, 0, time.Second)}, after: time.Second},
		"a poorer look":              {seen: []seen{broker(0, 40*time.Second, 0), broker(time.Second, 40*time.Second, time.Minute)}, after: time.Second, want: "40s ahead"},
		"a poorer look, much later":  {seen: []seen{broker(0, 40*time.Second, 0), broker(6*time.Minute, 20*time.Second, time.Minute)}, after: 6 * time.Minute},
		"a poorer look differs":      {seen: []seen{broker(0, 0, 0), broker(time.Second, year, time.Minute)}, after: time.Second, want: "8759h59m30s ahead"},
		"too long ago":               {seen: []seen{broker(0, 0, 0)}, after: 61 * time.Minute, want: "has not been compared"},
		"the provider's too long ago": {
			seen: []seen{acme(0, year, 0), broker(60*time.Minute, 0, 0)}, names: []string{"acme"}, after: 61 * time.Minute,
		},
	} {
		c := &Clock{}
		for _, s := range tt.seen {
			c.Observe(s.name, s.s)
		}
		err := c.trusted(noon.Add(tt.after), tt.names...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	if err := (*Clock)(nil).Trusted(); err != nil {
		t.Errorf("no clock: got %v, want trust", err)
	}
}

func TestH25WordsOfADifference(t *testing.T) {
	t.Parallel()
	for off, want := range map[time.Duration]string{
		90*time.Second + 7: "1m30s ahead of the broker's", -45 * time.Second: "45s behind the broker's",
		-250*time.Millisecond - 1: "250ms behind the broker's",
	} {
		if got := Apart(off, BrokerClock); got != want {
			t.Errorf("%v: got %q, want %q", off, got, want)
		}
	}
}
