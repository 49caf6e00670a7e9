package delivery

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is whose an answer is.
type Fault int

// The faults.
const (
	Delivered Fault = iota
	Own             // the outcome's: others may be taken
	Endpoint        // the endpoint's: others would fare the same
	Gone            // 410: nothing is to be sent again
)

// String returns the fault's name in metrics.
func (f Fault) String() string {
	switch f {
	case Delivered:
		return "delivered"
	case Own:
		return "refused"
	case Gone:
		return "gone"
	default:
		return "endpoint"
	}
}

// Verdict is what one try has shown.
type Verdict struct {
	Fault  Fault
	Reason string
	After  time.Duration // not to be tried again earlier; 0: nothing was said
}

// mostAfter bounds what an endpoint may ask for.
const mostAfter = time.Hour

// Judge says what an answer means. now is when it came.
func Judge(status int, header http.Header, now time.Time) Verdict {
	v := Verdict{Reason: fmt.Sprintf("status %d", status), After: retryAfter(header.Get("Retry-After"), now)}
	if text := http.StatusText(status); text != "" {
		v.Reason += " " + text
	}
	switch {
	case status >= 200 && status <= 299:
		return Verdict{Fault: Delivered}
	case status == http.StatusGone:
		v.Fault = Gone
	case status >= 300 && status <= 399:
		v.Fault, v.Reason = Endpoint, v.Reason+": redirects are not followed"
	case status >= 400 && status <= 499:
		v.Fault = clientFault(status)
	default:
		v.Fault = Endpoint
	}
	return v
}

// clientFault tells what 4xx says of the outcome from what it says of the address,
// of the credentials or of the endpoint's load.
func clientFault(status int) Fault {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
		http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusUpgradeRequired, http.StatusTooManyRequests, 499:
		return Endpoint
	default:
		return Own
	}
}

// retryAfter reads the header, in seconds or as a date; at most mostAfter.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(mostAfter/time.Second))) * time.Second
	}
	if value != "" && strings.Trim(value, "0123456789") == "" { // a number beyond all others
		return mostAfter
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), mostAfter)
}

// schedule is when an outcome with a fault of its own is tried again, as Standard
// Webhooks proposes. The last pause is repeated.
var schedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// pauseAfter is the pause after so many tries, spread by chance, which is from 0 to
// 1, over a fifth of it.
func pauseAfter(tries int, chance float64) time.Duration {
	return spread(schedule[min(max(tries, 1), len(schedule))-1], chance)
}

// Bounds of the pauses before an endpoint that fails is asked again.
const (
	firstProbe = time.Second
	lastProbe  = 5 * time.Minute
)

// probeAfter is the pause after so many failures of the endpoint in a row.
func probeAfter(failures int, chance float64) time.Duration {
	return spread(min(firstProbe<<min(max(failures-1, 0), 10), lastProbe), chance)
}

func spread(pause time.Duration, chance float64) time.Duration {
	return pause - pause/10 + time.Duration(chance*float64(pause/5))
}
