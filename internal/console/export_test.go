package console

import (
	"context"
	"net/http"
	"time"

	"github.com/weirhq/weir/schema"
)

// Hours returns a lane's last hour as the board has it after these looks.
func Hours(lane string, looks ...Overview) []minute {
	h := history{lanes: make(map[string]*track)}
	for _, o := range looks {
		h.enter(o)
	}
	return h.hour(lane, looks[len(looks)-1].At)
}

// Board returns what shows the newest look.
func Board(look func(context.Context) (Overview, error)) func(context.Context) (Overview, error) {
	return newBoard(look).overview
}

// Known returns what a board knows without a look.
func (b *board) Known() (Overview, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known()
}

// NewBoard is Board, whole.
func NewBoard(look func(context.Context) (Overview, error)) interface {
	Known() (Overview, error)
	Overview(context.Context) (Overview, error)
} {
	return newBoard(look)
}

// Overview is overview.
func (b *board) Overview(ctx context.Context) (Overview, error) { return b.overview(ctx) }

// Address is whom a request counts for behind a proxy that said so.
func Address(forwarded string) string {
	r := &http.Request{RemoteAddr: "192.0.2.1:1", Header: http.Header{"X-Forwarded-For": {forwarded}}}
	return (&Console{cfg: Config{BehindProxy: true}}).address(r)
}

// KnownUntil is the mark of a browser that is known until then.
func KnownUntil(token schema.Secret, end time.Time) string {
	return seal(token, "known", pass{ID: "a-browser", End: end})
}

// Charts draws an hour.
func Charts(hour []minute) (slots, made, waiting chart) {
	return slotsChart(hour), madeChart(hour), waitingChart(hour)
}

// Headline is what the first page says.
func Headline(o Overview) string {
	words, _ := headline(o)
	return words
}

// Since says how long ago something was.
func Since(t, now time.Time) string { return since(t, now) }

// Plain is a text on one line.
func Plain(s string, most int) string { return plain(s, most) }

// Inside returns an address if it is a path of the console.
func Inside(to string) string { return inside(to) }
