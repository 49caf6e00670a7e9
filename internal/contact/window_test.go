package contact_test

import (
	"archive/zip"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact"
	"github.com/weirhq/weir/schema"
)

// allZones are the names of all time zones.
func allZones(t testing.TB) []string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	var names []string
	for _, f := range z.File {
		if name := f.Name; !strings.HasSuffix(name, "/") && contact.CheckZone(name) == nil {
			names = append(names, name)
		}
	}
	if len(names) < 400 {
		t.Fatalf("got %d zones, want all", len(names))
	}
	return names
}

// wall judges by what a clock on the wall shows, as text.
func wall(c contact.Config, zone *time.Location, t time.Time) bool {
	shown := t.In(zone).Format("2006-01-02 15:04 Mon")
	date, weekday := shown[:10], shown[17:]
	hour, _ := strconv.Atoi(shown[11:13])
	minute, _ := strconv.Atoi(shown[14:16])
	minute += 60 * hour
	free := func(date string) bool {
		return slices.ContainsFunc(c.Holidays, func(d contact.Date) bool {
			return date == fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) || d.Year == 0 && date[5:] == fmt.Sprintf("%02d-%02d", d.Month, d.Day)
		})
	}
	on := func(w contact.Window, weekday string) bool {
		for i, selected := range w.Days {
			if selected && time.Weekday(i).String()[:3] == weekday {
				return true
			}
		}
		return false
	}
	inside := func(w contact.Window) bool {
		switch {
		case w.From < w.To:
			return on(w, weekday) && w.From <= minute && minute < w.To
		case minute < w.To:
			day, _ := time.Parse(time.DateOnly, date)
			eve := day.AddDate(0, 0, -1)
			return on(w, eve.Format("Mon")) && !free(eve.Format(time.DateOnly)) || on(w, weekday) && w.From <= minute
		default:
			return on(w, weekday) && w.From <= minute
		}
	}
	return slices.ContainsFunc(c.Windows, inside) && !free(date)
}

func rule(t testing.TB, c contact.Config, to consumer.Recipient) consumer.Rule {
	t.Helper()
	rules, err := contact.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rules.Rule(schema.NewReading(event.New()), to)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// earliest checks the ruling on a time against the walls of all zones, minute by
// minute until it says open.
func earliest(t interface{ Fatalf(string, ...any) }, c contact.Config, r consumer.Rule, zones []*time.Location, now time.Time) {
	open := func(at time.Time) bool {
		return !slices.ContainsFunc(zones, func(z *time.Location) bool { return !wall(c, z, at) })
	}
	got := r.Judge("k", now)
	if (got.Verdict == consumer.ContactNow) != open(now) {
		t.Fatalf("%v at %v: got ruling %+v, the walls say open %v", zones, now, got, open(now))
	}
	if got.Verdict != consumer.ContactLater {
		return
	}
	if !open(got.Until) {
		t.Fatalf("%v at %v: waits until %v, when it is closed", zones, now, got.Until)
	}
	if again := r.Judge("k", got.Until); again.Verdict != consumer.ContactNow {
		t.Fatalf("%v at %v: waits until %v and then is told %+v", zones, now, got.Until, again)
	}
	for at := now.Truncate(time.Minute).Add(time.Minute); at.Before(got.Until); at = at.Add(time.Minute) {
		if !open(at) {
			continue
		}
		if late := got.Until.Sub(at); late > 5*time.Minute {
			t.Fatalf("%v at %v: waits until %v, %v after it was open at %v", zones, now, got.Until, late, at)
		}
		return
	}
}

func every(from, to int) contact.Window {
	return contact.Window{Days: [7]bool{true, true, true, true, true, true, true}, From: from, To: to}
}

// Around each change of the clocks in two years, in each zone: nobody is called
// outside a window, and nobody waits for longer than until one opens.
func TestClocksThatChange(t *testing.T) {
	t.Parallel()
	c := contact.Config{Windows: []contact.Window{every(2*60+30, 3*60+15), every(23*60+30, 30), every(60, 61), every(4*60+10, 4*60+11)}}
	began := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	changes := 0
	for _, name := range allZones(t) {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		c.Zone = name
		r := rule(t, c, consumer.Recipient{Channel: "telephone"})
		_, change := began.In(zone).ZoneBounds()
		for !change.IsZero() && change.Before(began.AddDate(2, 0, 0)) {
			changes++
			for _, before := range []time.Duration{2 * time.Hour, 20 * time.Minute, 0, -20 * time.Minute, -time.Hour} {
				earliest(t, c, r, []*time.Location{zone}, change.Add(-before))
			}
			_, change = change.In(zone).ZoneBounds()
		}
	}
	if changes < 300 {
		t.Errorf("got %d changes, want those of two years", changes)
	}
}

// Any windows, holidays and zones, at any time of two years and of the day that
// Samoa left out.
func TestWindowsByTheWall(t *testing.T) {
	t.Parallel()
	names := allZones(t)
	rapid.Check(t, func(rt *rapid.T) {
		var c contact.Config
		for range rapid.IntRange(1, 3).Draw(rt, "windows") {
			w := contact.Window{From: rapid.IntRange(0, 1439).Draw(rt, "from")}
			w.To = rapid.IntRange(0, 1440).Filter(func(to int) bool { return to != w.From }).Draw(rt, "to")
			for i := range w.Days {
				w.Days[i] = rapid.IntRange(0, 2).Draw(rt, "day") > 0
			}
			w.Days[rapid.IntRange(0, 6).Draw(rt, "surely")] = true
			c.Windows = append(c.Windows, w)
		}
		now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 2*365*86400).Draw(rt, "second")) * time.Second)
		c.Zone = rapid.SampledFrom(names).Draw(rt, "zone")
		if rapid.IntRange(0, 9).Draw(rt, "samoa") == 0 {
			c.Zone = "Pacific/Apia"
			now = time.Date(2011, 12, 29, 20, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 40*3600).Draw(rt, "around")) * time.Second)
		}
		zone, err := time.LoadLocation(c.Zone)
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(rt, "holidays") {
			year, month, day := now.In(zone).AddDate(0, 0, rapid.IntRange(-1, 4).Draw(rt, "ahead")).Date()
			c.Holidays = append(c.Holidays, contact.Date{Year: rapid.SampledFrom([]int{0, year}).Draw(rt, "year"), Month: month, Day: day})
		}
		earliest(rt, c, rule(t, c, consumer.Recipient{Channel: "telephone"}), []*time.Location{zone}, now)
	})
}

// A number whose prefix may be in several zones is called while it is day in all.
func TestAllZonesOfANumber(t *testing.T) {
	t.Parallel()
	load := func(names ...string) (zones []*time.Location) {
		for _, name := range names {
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			zones = append(zones, zone)
		}
		return zones
	}
	for number, zones := range map[string][]*time.Location{
		"+12089990100":  load("America/Boise", "America/Los_Angeles"), // Idaho
		"+61891234567":  load("Australia/Adelaide", "Australia/Perth"),
		"+351912345678": load("Atlantic/Azores", "Europe/Lisbon"),
	} {
		c := contact.Config{Windows: []contact.Window{every(9*60, 17*60)}, Numbers: contact.Numbers{SendInvalid: true}}
		r := rule(t, c, consumer.Recipient{Channel: "telephone", Number: number})
		for hour := range 48 {
			earliest(t, c, r, zones, time.Date(2026, 3, 28, hour, 7, 0, 0, time.UTC))
		}
	}
}

func TestNoCommonOpening(t *testing.T) {
	t.Parallel()
	c := contact.Config{Windows: []contact.Window{every(9*60, 9*60+30)}}
	r := rule(t, c, consumer.Recipient{Channel: "telephone", Number: "+18005550100"})
	began := time.Now()
	got := r.Judge("k", time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	if got.Verdict != consumer.ContactNever || !strings.Contains(got.Reason, "no window open in the next 60 days") {
		t.Errorf("got %+v, want never", got)
	}
	t.Log(time.Since(began))
}

// Those who wait for one opening are spread, each always to the same moment, and
// none to where the window is about to close.
func TestSpread(t *testing.T) {
	t.Parallel()
	monday := time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		window contact.Window
		most   time.Duration
	}{
		"a day":       {every(9*60, 20*60), 5 * time.Minute},
		"two minutes": {every(9*60, 9*60+2), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rule(t, contact.Config{Zone: "UTC", Windows: []contact.Window{tt.window}}, consumer.Recipient{Channel: "telephone"})
			var early, late int
			for i := range 1000 {
				intent := consumer.Key("l", "/crm", fmt.Sprint(i))
				got := r.Judge(intent, monday.Add(-3*time.Hour)).Until
				if again := r.Judge(intent, monday.Add(-time.Minute)).Until; again != got {
					t.Fatalf("got %v and %v, want the same moment", got, again)
				}
				switch after := got.Sub(monday); {
				case after < 0 || after >= tt.most:
					t.Fatalf("got %v after the opening, want less than %v", after, tt.most)
				case after < tt.most/2:
					early++
				default:
					late++
				}
			}
			if min(early, late) < 350 {
				t.Errorf("got %d in the first half and %d in the second, want them spread", early, late)
			}
		})
	}
}
