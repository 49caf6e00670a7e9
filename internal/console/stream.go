package console

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"
)

// eventStream is the media type of a page that is kept fresh.
const eventStream = "text/event-stream"

// How a stream runs: a part at most each second, a sign of life if nothing changes,
// and an end after an hour, whereupon the browser asks anew.
const (
	streamStep = time.Second
	streamSign = 15 * time.Second
	streamEnd  = time.Hour
	streamSend = 10 * time.Second // for a browser to take what was sent
)

// stream sends the changing part of a page whenever it has changed, until the
// visitor goes, is not signed in any more, or the process stops.
func (c *Console) stream(w http.ResponseWriter, v *visit, e entry) {
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are kept fresh; reload this one instead", http.StatusServiceUnavailable)
		return
	}
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("X-Accel-Buffering", "no") // a proxy passes it on at once
	s := &stream{c: c, w: w, rc: rc, v: v, e: e}
	end := time.NewTimer(streamEnd)
	defer end.Stop()
	for {
		wait, ok := s.step()
		if !ok {
			return
		}
		next := time.NewTimer(wait)
		select {
		case <-next.C:
			continue
		case <-v.Context().Done():
		case <-c.closing:
		case <-end.C:
		}
		next.Stop()
		return
	}
}

// stream is one page that is kept fresh.
type stream struct {
	c    *Console
	w    http.ResponseWriter
	rc   *http.ResponseController
	v    *visit
	e    entry
	sent []byte    // the part as the browser has it
	at   time.Time // when something was sent
}

// step sends what is new, and tells when to look again; not ok ends the stream.
func (s *stream) step() (wait time.Duration, ok bool) {
	if !s.c.signedIn(s.v) {
		_ = s.send("gone", []byte("You are not signed in any more."))
		return 0, false
	}
	ctx, cancel := context.WithTimeout(s.v.Context(), s.c.cfg.Patience)
	defer cancel()
	shown, err := s.e.show(ctx, s.v)
	if err != nil {
		_, t, _ := explain(err)
		return 5 * streamStep, s.send("trouble", []byte(t.Text)) == nil
	}
	if !shown.Live {
		return 0, false
	}
	var b bytes.Buffer
	if err := s.c.looks.drawPart(&b, "fresh", page{view: shown, Name: s.v.Name, Now: time.Now()}); err != nil {
		s.c.lg.Error().Err(err).Str("template", shown.Template).Msg("console: a template failed")
		return 0, false
	}
	wait = max(shown.Every, streamStep)
	switch {
	case !bytes.Equal(b.Bytes(), s.sent):
		s.sent = b.Bytes()
		return wait, s.send("fresh", s.sent) == nil
	case time.Since(s.at) >= streamSign:
		return wait, s.send("same", []byte("-")) == nil
	default:
		return wait, true
	}
}

// send sends one event.
func (s *stream) send(kind string, data []byte) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(streamSend))
	var b strings.Builder
	b.WriteString("event: " + kind + "\n")
	for line := range bytes.Lines(data) {
		b.WriteString("data: ")
		b.Write(bytes.TrimRight(line, "\r\n"))
		b.WriteString("\n")
	}
	b.WriteString("\n")
	s.at = time.Now()
	if _, err := s.w.Write([]byte(b.String())); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil {
		return err
	}
	_ = s.rc.SetWriteDeadline(time.Time{}) // HTTP/2 ends a stream at the time, also if nothing is being sent
	return nil
}

// signedIn reports whether the visitor still is.
func (c *Console) signedIn(v *visit) bool {
	cookie, err := v.Cookie(c.cookieName(signedInCookie))
	return err == nil && c.sealer.open(cookie.Value) != ""
}
