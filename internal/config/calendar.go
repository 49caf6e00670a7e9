package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// calendar is what is read of an iCalendar file (RFC 5545): events that are whole
// days, each once or each year. What may mean other days is refused.
type calendar struct {
	days   []Date
	inside []string // the components that are open
	event  vevent
}

// vevent is one event of a calendar.
type vevent struct {
	line       int
	start, end time.Time
	days       int // of its duration
	yearly     bool
	cancelled  bool
}

// maxEventDays bounds one event.
const maxEventDays = 366

// parseCalendar returns the days of a calendar.
func parseCalendar(text string) ([]Date, error) {
	text = strings.TrimPrefix(text, "\ufeff")
	var c calendar
	var line strings.Builder
	first, n := 0, 0
	for raw := range strings.Lines(text) {
		n++
		raw = strings.TrimRight(raw, "\r\n")
		if len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') && first > 0 {
			line.WriteString(raw[1:]) // a long line goes on
			continue
		}
		if err := c.take(first, line.String()); err != nil {
			return nil, err
		}
		line.Reset()
		line.WriteString(raw)
		first = n
	}
	if err := c.take(first, line.String()); err != nil {
		return nil, err
	}
	switch {
	case n == 0 || len(c.inside) > 0:
		return nil, fmt.Errorf("is no whole calendar: it must be one from BEGIN:VCALENDAR to END:VCALENDAR")
	case len(c.days) == 0:
		return nil, fmt.Errorf("has no days")
	}
	return c.days, nil
}

// take reads one line.
func (c *calendar) take(n int, line string) error {
	if strings.TrimSpace(line) == "" {
		return nil
	}
	head, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("line %d: is no line of a calendar", n)
	}
	name, params, _ := strings.Cut(strings.ToUpper(head), ";")
	value = strings.TrimSpace(value)
	within := ""
	if len(c.inside) > 0 {
		within = c.inside[len(c.inside)-1]
	}
	switch {
	case name == "BEGIN":
		return c.begin(n, within, strings.ToUpper(value))
	case within == "":
		return fmt.Errorf("line %d: must be BEGIN:VCALENDAR", n)
	case name == "END":
		return c.close(n, within, strings.ToUpper(value))
	case within == "VEVENT":
		if err := c.event.set(name, params, value); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

func (c *calendar) begin(n int, within, component string) error {
	if within == "" && component != "VCALENDAR" || len(c.inside) > 4 {
		return fmt.Errorf("line %d: must be BEGIN:VCALENDAR", n)
	}
	if component == "VEVENT" {
		c.event = vevent{line: n, days: 1}
	}
	c.inside = append(c.inside, component)
	return nil
}

func (c *calendar) close(n int, within, component string) error {
	if within != component {
		return fmt.Errorf("line %d: END:%s ends another component", n, clip(component))
	}
	c.inside = c.inside[:len(c.inside)-1]
	if component != "VEVENT" || c.event.cancelled {
		return nil
	}
	e := c.event
	if e.start.IsZero() {
		return fmt.Errorf("line %d: the event has no DTSTART", e.line)
	}
	if e.end.IsZero() {
		e.end = e.start.AddDate(0, 0, e.days)
	}
	if days := e.end.Sub(e.start) / (24 * time.Hour); days < 1 || days > maxEventDays {
		return fmt.Errorf("line %d: the event lasts %d days, and not 1 to %d", e.line, days, maxEventDays)
	}
	for day := e.start; day.Before(e.end); day = day.AddDate(0, 0, 1) {
		if len(c.days) > maxHolidays {
			return fmt.Errorf("line %d: has more than %d days", e.line, maxHolidays)
		}
		date := Date{day.Year(), day.Month(), day.Day()}
		if e.yearly {
			date.Year = 0
		}
		c.days = append(c.days, date)
	}
	return nil
}

// wholeDays is a duration of days or weeks.
var wholeDays = regexp.MustCompile(`^P(\d{1,3})([DW])$`)

// set reads one property of an event.
func (e *vevent) set(name, params, value string) (err error) {
	switch name {
	case "DTSTART":
		e.start, err = wholeDay(params, value)
	case "DTEND":
		e.end, err = wholeDay(params, value)
	case "DURATION":
		m := wholeDays.FindStringSubmatch(value)
		if m == nil {
			return fmt.Errorf("the event must last whole days")
		}
		e.days, _ = strconv.Atoi(m[1])
		if m[2] == "W" {
			e.days *= 7
		}
	case "RRULE":
		rule := strings.TrimSuffix(strings.ToUpper(value), ";INTERVAL=1")
		if rule != "FREQ=YEARLY" {
			return fmt.Errorf("of repeated events only FREQ=YEARLY is understood, on the same date each year: give each year's day an event of its own")
		}
		e.yearly = true
	case "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID":
		return fmt.Errorf("%s is not understood: give each day an event of its own", name)
	case "STATUS":
		e.cancelled = strings.EqualFold(value, "CANCELLED")
	}
	return err
}

// wholeDay reads a date.
func wholeDay(params, value string) (time.Time, error) {
	t, err := time.Parse("20060102", value)
	if err != nil || strings.Contains(params, "VALUE=DATE-TIME") || t.Year() < 1 {
		return time.Time{}, fmt.Errorf("must be a day such as 20261224, without a time: a holiday is a whole day")
	}
	return t, nil
}
