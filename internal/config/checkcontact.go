package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/schema"
)

// Bounds of a lane's contact rules.
const (
	maxWindows  = 100
	maxHolidays = 5000
	maxCalendar = 1 << 20
)

// contact checks who the lane at path contacts.
func (d *decoder) contact(path string, p *provider, c *Contact) {
	if c == nil || !d.read(path) {
		return
	}
	if where, err := schema.CompileText(c.Zone); err != nil {
		d.add(path+".zone", "%v", err)
	} else {
		c.Where = where
	}
	if d.read(path+".time_zone") && !isZone(c.TimeZone) {
		d.add(path+".time_zone", "is no time zone such as Europe/Berlin")
	}
	if d.read(path + ".region") {
		d.region(path+".region", c.Region)
	}
	within(d, path+".spread", c.Spread, time.Second, time.Hour)
	if len(c.Windows) > maxWindows {
		d.add(path+".windows", "must have at most %d windows", maxWindows)
	}
	for i, at := range d.whole(path+".windows", len(c.Windows)) {
		d.window(at, p, &c.Windows[i])
	}
	for _, key := range []string{"time_zone", "zone", "holidays", "spread"} {
		if at := path + "." + key; d.has(at) && len(c.Windows) == 0 {
			d.add(at, "has no meaning without windows")
		}
	}
	d.holidays(path+".holidays", &c.Holidays)
	d.often(path, c)
	d.oneOf(path+".numbers.invalid", c.Numbers.Invalid, InvalidRefuse, InvalidSend)
	for key, regions := range map[string][]string{"allow": c.Numbers.Allow, "deny": c.Numbers.Deny} {
		for i, at := range d.whole(path+".numbers."+key, len(regions)) {
			d.region(at, regions[i])
		}
	}
}

// isZone reports whether a name is that of a time zone that is the same on every
// machine.
func isZone(name string) bool {
	if name != "UTC" && (!strings.Contains(name, "/") || strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/")) {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

// region checks a country or territory.
func (d *decoder) region(path, region string) {
	if !phonenumbers.GetSupportedRegions()[region] {
		d.add(path, "is no region that numbers are from, such as DE or US")
	}
}

// hours are two times of a day.
var hours = regexp.MustCompile(`^([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))$`)

// window checks one window at path.
func (d *decoder) window(path string, p *provider, w *Window) {
	for i, at := range d.whole(path+".channels", len(w.Channels)) {
		if len(p.spoken) > 0 {
			d.oneOf(at, w.Channels[i], p.spoken...)
		}
	}
	for key, values := range map[string][]string{"channels": w.Channels, "days": w.Days} {
		if at := path + "." + key; d.read(at) && len(values) == 0 {
			d.add(at, "is empty: leave it out for all")
		}
	}
	if len(w.Days) == 0 {
		w.On = [7]bool{true, true, true, true, true, true, true}
	}
	for i, at := range d.whole(path+".days", len(w.Days)) {
		if !w.addDays(w.Days[i]) {
			d.add(at, "must be a weekday such as mon, or several such as mon-fri")
		}
	}
	m := hours.FindStringSubmatch(w.Hours)
	switch {
	case !d.has(path + ".hours"):
		d.add(path+".hours", "is missing")
		return
	case m == nil:
		d.add(path+".hours", "must be two times such as 09:00-20:00")
		return
	}
	minutes := func(hour, minute string) int {
		h, _ := strconv.Atoi(hour)
		m, _ := strconv.Atoi(minute)
		return 60*h + m
	}
	w.From, w.To = minutes(m[1], m[2]), minutes(m[3]+m[5], m[4]+m[6])
	if w.From == w.To {
		d.add(path+".hours", "begins and ends at one time: a whole day is 00:00-24:00")
	}
}

// weekdays are by time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// addDays adds a weekday, or a row of them, which may go past the week's end.
func (w *Window) addDays(text string) bool {
	first, last, row := strings.Cut(text, "-")
	if !row {
		last = first
	}
	from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
	if from < 0 || to < 0 {
		return false
	}
	for day := from; ; day = (day + 1) % len(weekdays) {
		w.On[day] = true
		if day == to {
			return true
		}
	}
}

// holidays collects the days at path, and those of its calendar.
func (d *decoder) holidays(path string, h *Holidays) {
	h.All = slices.Clone(h.Dates)
	if at := path + ".file"; d.read(at) {
		days, err := readCalendar(d.resolve(h.File))
		if err != nil {
			d.add(at, "%v", err)
		}
		h.All = append(h.All, days...)
	}
	if len(h.All) > maxHolidays {
		d.add(path, "are more than %d days", maxHolidays)
	}
}

// readCalendar reads the days of the calendar in a file.
func readCalendar(name string) ([]Date, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot be read")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCalendar+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read")
	case len(b) > maxCalendar:
		return nil, fmt.Errorf("is larger than %v", Size(maxCalendar))
	}
	return parseCalendar(string(b))
}

// date reads a day, which YAML takes for a time if it is not quoted.
func (d *decoder) date(path string, n *yaml.Node, v reflect.Value) {
	date, ok := parseDate(n.Value)
	if !isScalar(n, "!!str", "!!timestamp") || !ok {
		d.add(path, "must be a day such as 2026-12-24, or 12-24 for every year")
		return
	}
	v.Set(reflect.ValueOf(date))
}

// parseDate reads a day of one year or, without the year, of all.
func parseDate(text string) (Date, bool) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return Date{t.Year(), t.Month(), t.Day()}, t.Year() > 0
	}
	t, err := time.Parse(time.DateOnly, "2000-"+text) // a leap year
	return Date{0, t.Month(), t.Day()}, err == nil && len(text) == 5
}
