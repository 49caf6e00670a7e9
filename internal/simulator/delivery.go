package simulator

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// answer is one response with the way in which it goes wrong.
type answer struct {
	status int
	header http.Header
	body   []byte
	html   bool // the body is HTML, else JSON

	broken  string        // the fault that keeps it from arriving whole; empty: none
	cut     int           // faultCut: how many bytes of the body arrive
	chunked bool          // faultCut: chunked, without the last chunk
	drip    time.Duration // over which the body arrives
}

// dripPieces is in how many pieces a dripping body arrives.
const dripPieces = 20

// deliver writes an answer, or breaks the connection as it says.
func (s *Simulator) deliver(w http.ResponseWriter, r *http.Request, a answer) {
	s.lg.Debug().Str("method", r.Method).Int("status", a.status).Str("fault", a.broken).Msg("answer begins")
	switch a.broken {
	case faultAcceptedHang:
		hang(r.Context(), s.manner.faults.HangFor, nil)
	case faultReset, faultResetEarly:
		reset(w)
	case faultAccepted500:
		a = s.api.failure(http.StatusInternalServerError, "Internal Server Error")
	}
	switch {
	case a.broken == faultCut:
		a.head(w)
		cutOff(w, a.body[:a.cut])
	case a.drip > 0:
		a.head(w)
		drip(r.Context(), w, a.body, a.drip)
	default:
		a.write(w)
	}
}

// slowed lets an answer that arrives whole drip, if the plan says so.
func (s *Simulator) slowed(a answer, p plan) answer {
	if p.slow && a.broken == "" {
		a.drip = s.manner.faults.SlowFor
		s.tally.fault(faultSlow)
	}
	return a
}

// write writes an answer that arrives whole.
func (a answer) write(w http.ResponseWriter) {
	a.head(w)
	// The client may be gone; what was made is in the proof.
	_, _ = w.Write(a.body)
}

// retryAfter sets Retry-After in whole seconds, rounded up; none for no time.
func (a *answer) retryAfter(d time.Duration) {
	if d <= 0 {
		return
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
}

// head writes status and headers.
func (a answer) head(w http.ResponseWriter) {
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("Content-Type", "application/json; charset=utf-8")
	if a.html {
		h.Set("Content-Type", "text/html; charset=utf-8")
	}
	if !a.chunked {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
}

// struck answers a request whose fault comes before anything is done, and
// reports whether it did.
func (s *Simulator) struck(w http.ResponseWriter, r *http.Request, p plan) bool {
	var a answer
	switch p.fault {
	case faultRefuse503:
		a = s.api.failure(http.StatusServiceUnavailable, "Service Unavailable")
	case faultHTML502:
		a = answer{status: http.StatusBadGateway, html: true, body: []byte(badGateway)}
	case faultResetEarly:
		a = answer{broken: faultResetEarly}
	default:
		return false
	}
	s.tally.fault(p.fault)
	s.spoil(w, r, p.fault)
	wait(r.Context(), p.latency)
	s.deliver(w, r, a)
	return true
}

// badGateway is the page of a proxy in front of the provider.
const badGateway = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n" +
	"<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"

// spoil reads a request that a fault strikes before anything is done to its end, so
// that the client has written it all and its going away is noticed, and proves what
// it asked for.
func (s *Simulator) spoil(w http.ResponseWriter, r *http.Request, fault string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || r.Method != http.MethodPost {
		return
	}
	s.account.do(func(now time.Time) { s.account.refuse(now, s.api.asked(body), fault) })
}

// wait lets time pass, less if the client goes or the server shuts down.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hang answers nothing until the client goes, the server shuts down, d is over
// or over is closed, then closes the connection. It does not return.
func hang(ctx context.Context, d time.Duration, over <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-over:
	case <-ctx.Done():
	}
	panic(http.ErrAbortHandler)
}

// reset closes the connection with a TCP reset. It does not return.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		if secure, ok := conn.(*tls.Conn); ok { // whose own Close would say goodbye
			conn = secure.NetConn()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // unsent data is dropped and a reset sent
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// cutOff sends the first part of a body and closes the connection. It does not
// return.
func cutOff(w http.ResponseWriter, part []byte) {
	_, _ = w.Write(part)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// drip sends a body in pieces over a time, all the rest at once if the server
// shuts down.
func drip(ctx context.Context, w http.ResponseWriter, body []byte, over time.Duration) {
	rc := http.NewResponseController(w)
	size := max(1, (len(body)+dripPieces-1)/dripPieces)
	for len(body) > 0 {
		_ = rc.Flush()
		wait(ctx, over/dripPieces)
		n := min(size, len(body))
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		body = body[n:]
	}
}
