package ledger

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/schema/plainjson"
)

// writer writes an entry's members as the standard encoder would, those that are empty
// left out.
type writer struct {
	b   []byte
	err error // the first
}

// marshal is json.Marshal of an entry.
func (e entry) marshal() ([]byte, error) {
	w := &writer{b: make([]byte, 0, 1024)}
	w.b = append(w.b, '{')
	w.name("v").int(e.V)
	w.name("w").string(e.Write)
	w.name("state").string(string(e.State))
	w.name("n").int(e.N)
	w.number("claims", e.Claims)
	w.number("attempts", e.Attempts)
	if e.Waits != nil {
		w.name("waits").any(e.Waits)
	}
	w.text("nonce", e.Nonce)
	w.time("claimed", e.Claimed)
	w.time("not_before", e.NotBefore)
	w.truth("postponed", e.Later)
	if e.Sequence != 0 {
		w.name("sequence")
		w.b = strconv.AppendUint(w.b, e.Sequence, 10)
	}
	w.time("born", e.Born)
	w.text("source", e.Source)
	w.text("id", e.ID)
	w.text("type", e.Type)
	w.text("trace", e.Trace)
	w.text("digest", e.Digest)
	w.text("former", e.Former)
	w.text("redial_of", e.RedialOf)
	w.number("redial", e.Redial)
	w.text("next", e.Next)
	w.time("next_at", e.NextAt)
	w.truth("open", e.Open)
	w.truth("foreign", e.Foreign)
	w.truth("doubted", e.Doubted)
	w.text("channel", e.Channel)
	w.text("print", e.Print)
	w.text("conversation", e.Conversation)
	w.number("made", e.Made)
	if e.Named != nil {
		w.name("named").any(e.Named)
	}
	w.text("greeting", e.Greeting)
	w.text("join", e.Join)
	if e.Others != nil {
		w.name("others").any(e.Others)
	}
	w.text("class", e.Class)
	w.text("reason", e.Reason)
	w.time("forgotten", e.Forgotten)
	w.time("first", e.First)
	if e.History != nil {
		w.name("history")
		w.b = append(w.b, '[')
		for i, l := range e.History {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.line(l)
		}
		w.b = append(w.b, ']')
	}
	return append(w.b, '}'), w.err
}

func (w *writer) line(l line) {
	w.b = append(w.b, '{')
	w.name("n").int(l.N)
	w.name("state").string(string(l.State))
	w.number("claim", l.Claim)
	w.name("at").moment(l.At)
	w.text("by", l.By)
	w.text("cause", l.Cause)
	w.text("reason", l.Reason)
	w.b = append(w.b, '}')
}

// name begins a member.
func (w *writer) name(name string) *writer {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), name...), `":`...)
	return w
}

func (w *writer) text(name, s string) {
	if s != "" {
		w.name(name).string(s)
	}
}

func (w *writer) number(name string, n int) {
	if n != 0 {
		w.name(name).int(n)
	}
}

func (w *writer) truth(name string, t bool) {
	if t {
		w.name(name)
		w.b = append(w.b, "true"...)
	}
}

func (w *writer) time(name string, t time.Time) {
	if !t.IsZero() {
		w.name(name).moment(t)
	}
}

func (w *writer) int(n int) { w.b = strconv.AppendInt(w.b, int64(n), 10) }

func (w *writer) string(s string) {
	if strings.ContainsAny(s, "<>&") || !plainjson.Plain(s) {
		w.any(s)
		return
	}
	w.b = append(append(append(w.b, '"'), s...), '"')
}

func (w *writer) moment(t time.Time) {
	b, err := t.AppendText(append(w.b, '"'))
	if err != nil {
		w.fail(err)
		return
	}
	w.b = append(b, '"')
}

func (w *writer) any(v any) {
	b, err := json.Marshal(v)
	w.fail(err)
	w.b = append(w.b, b...)
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}
