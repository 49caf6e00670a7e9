package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
)

// withContact is the small file with a block of contact rules, at line 7.
func withContact(block string) string {
	return strings.Replace(small, "limit: 20", "limit: 20\n    contact:\n      "+strings.ReplaceAll(block, "\n", "\n      "), 1)
}

func TestContact(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calendar := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nDTSTART:19700101T000000\r\nEND:VTIMEZONE\r\n" +
		"BEGIN:VEVENT\r\nSUMMARY:New\r\n  Year\r\nDTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\n" +
		"BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261230\r\nDTEND;VALUE=DATE:20270102\r\nBEGIN:VALARM\r\nTRIGGER:-P1D\r\nEND:VALARM\r\nEND:VEVENT\r\n" +
		"BEGIN:VEVENT\r\nDTSTART:20260501\r\nSTATUS:CANCELLED\r\nEND:VEVENT\r\n" +
		"BEGIN:VEVENT\r\nDTSTART:20260601\r\nDURATION:P2D\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	if err := os.WriteFile(filepath.Join(dir, "holidays.ics"), []byte(calendar), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(filepath.Join(dir, "weir.yaml"), []byte(withContact(`time_zone: Europe/Berlin
region: DE
windows:
  - {channels: [telephony], days: [fri-mon, wed], hours: "09:00-20:00"}
  - {hours: 22:00-24:00}
holidays: {dates: [2026-12-24, 12-25], file: holidays.ics}
numbers: {invalid: send, allow: [DE, AT]}`)), environment)
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Accounts[0].Lanes[0].Contact
	if got.Where == nil {
		t.Error("got no expression of the zone, want the default")
	}
	got.Where = nil
	want := &config.Contact{
		Zone: "data.time_zone", TimeZone: "Europe/Berlin", Region: "DE", Spread: 300e9,
		Windows: []config.Window{
			{Channels: []string{"telephony"}, Days: []string{"fri-mon", "wed"}, Hours: "09:00-20:00", On: [7]bool{true, true, false, true, false, true, true}, From: 540, To: 1200},
			{Hours: "22:00-24:00", On: [7]bool{true, true, true, true, true, true, true}, From: 1320, To: 1440},
		},
		Holidays: config.Holidays{
			Dates: []config.Date{{2026, 12, 24}, {0, 12, 25}}, File: "holidays.ics",
			All: []config.Date{{2026, 12, 24}, {0, 12, 25}, {0, 1, 1}, {2026, 12, 30}, {2026, 12, 31}, {2027, 1, 1}, {2026, 6, 1}, {2026, 6, 2}},
		},
		Numbers: config.Numbers{Invalid: "send", Allow: []string{"DE", "AT"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contact (-want +got):\n%s", diff)
	}
}

func TestContactProblems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, block, want string }{
		{"zone", "zone: phone\nwindows: [{hours: 09:00-10:00}]", `weir.yaml:8:7: lanes[0].contact.zone: unknown name phone`},
		{"time zone", "time_zone: Berlin\nwindows: [{hours: 09:00-10:00}]", "weir.yaml:8:7: lanes[0].contact.time_zone: is no time zone such as Europe/Berlin"},
		{"the host's zone", "time_zone: Local\nwindows: [{hours: 09:00-10:00}]", "weir.yaml:8:7: lanes[0].contact.time_zone: is no time zone such as Europe/Berlin"},
		{"region", "region: Germany", "weir.yaml:8:7: lanes[0].contact.region: is no region that numbers are from, such as DE or US"},
		{"no windows", "time_zone: UTC", "weir.yaml:8:7: lanes[0].contact.time_zone: has no meaning without windows"},
		{"no hours", "windows: [{days: [mon]}]", "weir.yaml:8:17: lanes[0].contact.windows[0].hours: is missing"},
		{"hours", `windows: [{hours: "9-17"}]`, "weir.yaml:8:18: lanes[0].contact.windows[0].hours: must be two times such as 09:00-20:00"},
		{"hour 25", `windows: [{hours: "09:00-25:00"}]`, "weir.yaml:8:18: lanes[0].contact.windows[0].hours: must be two times such as 09:00-20:00"},
		{"no time", `windows: [{hours: "09:00-09:00"}]`, "weir.yaml:8:18: lanes[0].contact.windows[0].hours: begins and ends at one time: a whole day is 00:00-24:00"},
		{"days", `windows: [{hours: "09:00-10:00", days: [monday, mon-fry]}]`, lines(
			"weir.yaml:8:47: lanes[0].contact.windows[0].days[0]: must be a weekday such as mon, or several such as mon-fri",
			"weir.yaml:8:55: lanes[0].contact.windows[0].days[1]: must be a weekday such as mon, or several such as mon-fri")},
		{"no days", `windows: [{hours: "09:00-10:00", days: []}]`, "weir.yaml:8:40: lanes[0].contact.windows[0].days: is empty: leave it out for all"},
		{"channel", `windows: [{hours: "09:00-10:00", channels: [telephone]}]`, "weir.yaml:8:51: lanes[0].contact.windows[0].channels[0]: must be chat or web or telephony; did you mean telephony?"},
		{"date", `windows: [{hours: "09:00-10:00"}]` + "\nholidays: {dates: [2026-02-30, 24.12.]}", lines(
			"weir.yaml:9:26: lanes[0].contact.holidays.dates[0]: must be a day such as 2026-12-24, or 12-24 for every year",
			"weir.yaml:9:38: lanes[0].contact.holidays.dates[1]: must be a day such as 2026-12-24, or 12-24 for every year")},
		{"no file", `windows: [{hours: "09:00-10:00"}]` + "\nholidays: {file: none.ics}", "weir.yaml:9:18: lanes[0].contact.holidays.file: cannot be read"},
		{"spread", `windows: [{hours: "09:00-10:00"}]` + "\nspread: 2h", "weir.yaml:9:7: lanes[0].contact.spread: must be between 1s and 1h"},
		{"numbers", "numbers: {invalid: sent, allow: [EU], deny: [usa]}", lines(
			"weir.yaml:8:17: lanes[0].contact.numbers.invalid: must be refuse or send; did you mean send?",
			"weir.yaml:8:40: lanes[0].contact.numbers.allow[0]: is no region that numbers are from, such as DE or US",
			"weir.yaml:8:52: lanes[0].contact.numbers.deny[0]: is no region that numbers are from, such as DE or US")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("weir.yaml", []byte(withContact(tt.block)), environment)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
			if _, ok := errors.AsType[config.Problems](err); err != nil && !ok {
				t.Errorf("got a %T, want problems", err)
			}
		})
	}
}

func TestCalendarProblems(t *testing.T) {
	t.Parallel()
	event := func(props ...string) string {
		return "BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + strings.Join(props, "\n") + "\nEND:VEVENT\nEND:VCALENDAR\n"
	}
	for name, tt := range map[string]struct{ text, want string }{
		"empty":            {"", "is no whole calendar"},
		"no days":          {"BEGIN:VCALENDAR\nEND:VCALENDAR\n", "has no days"},
		"something else":   {"<html>\n", "line 1: is no line of a calendar"},
		"another thing":    {"NAME:x\n", "line 1: must be BEGIN:VCALENDAR"},
		"cut":              {"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\n", "is no whole calendar"},
		"crossed":          {"BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR\n", "line 3: END:VCALENDAR ends another component"},
		"no start":         {event("SUMMARY:x"), "line 2: the event has no DTSTART"},
		"a time":           {event("DTSTART:20260101T090000Z"), "line 3: must be a day such as 20261224"},
		"backwards":        {event("DTSTART:20260102", "DTEND:20260101"), "line 2: the event lasts -1 days"},
		"for ever":         {event("DTSTART:20260102", "DTEND:20290101"), "line 2: the event lasts 1095 days"},
		"hours":            {event("DTSTART:20260102", "DURATION:PT8H"), "line 4: the event must last whole days"},
		"each week":        {event("DTSTART:20260102", "RRULE:FREQ=WEEKLY"), "line 4: of repeated events only FREQ=YEARLY"},
		"a moving holiday": {event("DTSTART:20261126", "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"), "line 4: of repeated events only FREQ=YEARLY"},
		"until":            {event("DTSTART:20261126", "RRULE:FREQ=YEARLY;UNTIL=20280101"), "line 4: of repeated events only FREQ=YEARLY"},
		"exceptions":       {event("DTSTART:20261126", "RRULE:FREQ=YEARLY", "EXDATE:20271126"), "line 5: EXDATE is not understood"},
		"too many":         {"BEGIN:VCALENDAR\n" + strings.Repeat("BEGIN:VEVENT\nDTSTART:20260101\nDTEND:20270101\nEND:VEVENT\n", 20) + "END:VCALENDAR\n", "has more than 5000 days"},
		"too large":        {strings.Repeat("X", 1<<20+1), "is larger than 1MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "h.ics"), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Parse(filepath.Join(dir, "weir.yaml"), []byte(withContact("windows: [{hours: 09:00-10:00}]\nholidays: {file: h.ics}")), environment)
			if err == nil || !strings.Contains(err.Error(), "lanes[0].contact.holidays.file: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q at its place", err, tt.want)
			}
		})
	}
}
