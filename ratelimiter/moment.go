package ratelimiter

import (
	"strconv"
	"strings"
	"time"
)

// longest is the most that any header can make a client wait: whatever is longer
// is asked again tomorrow.
const longest = 24 * time.Hour

// httpDates are the forms of a date in HTTP: the one to send, and two that are
// obsolete but must be understood.
var httpDates = [...]string{
	"Mon, 02 Jan 2006 15:04:05 GMT",
	"Monday, 02-Jan-06 15:04:05 GMT",
	time.ANSIC,
}

// parseDate reads an HTTP date.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range httpDates {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// reference returns the moment that the times in an answer are counted from: its
// own Date, so that a clock of ours that is wrong by hours does no harm. A Date
// that is more than a day off is none.
func reference(date string, now time.Time) time.Time {
	d, ok := parseDate(date)
	if !ok || d.Sub(now).Abs() > longest {
		return now
	}
	return d
}

// parseRetryAfter reads seconds or a date. A wait that is over is no wait.
func parseRetryAfter(s string, from time.Time) (time.Duration, bool) {
	if isDigits(s) && len(s) <= 18 {
		return seconds(digits(s)), true
	}
	t, ok := parseDate(s)
	if !ok {
		return 0, false
	}
	return clampWait(t.Sub(from)), true
}

// parseReset reads when a window opens: seconds from now, or seconds or
// milliseconds since 1970. All three are in use, and a number's size tells them
// apart: no window is longer than three years (1e8 s), and 1e9 s was in 2001.
func parseReset(s string, from time.Time) (time.Duration, bool) {
	if !isDigits(s) || len(s) > 14 {
		return 0, false
	}
	switch n := digits(s); {
	case n < 1e8:
		return seconds(n), true
	case n < 1e9:
		return 0, false
	case n < 1e11:
		return clampWait(time.Unix(n, 0).Sub(from)), true
	default:
		return clampWait(time.UnixMilli(n).Sub(from)), true
	}
}

// seconds returns n seconds, within bounds.
func seconds(n int64) time.Duration {
	return time.Duration(min(n, int64(longest/time.Second))) * time.Second
}

// clampWait returns d, within bounds.
func clampWait(d time.Duration) time.Duration { return min(max(d, 0), longest) }

// isDigits reports whether s is a number without sign, fraction or blanks.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// digits returns the value of at most 18 digits, which cannot overflow.
func digits(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
