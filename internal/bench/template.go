package bench

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/nats-io/nats.go"
)

// Headers of JetStream that differ with each write.
const (
	headerID     = nats.MsgIdHdr
	headerExpect = nats.ExpectedLastSubjSeqHdr
)

// Template is the durable writes that Weir makes for one event, in their order.
type Template struct {
	lane, key string
	writes    []*nats.Msg
}

// Len is how many writes there are.
func (t Template) Len() int { return len(t.writes) }

// Bytes is the size of all of them, headers included.
func (t Template) Bytes() int {
	n := 0
	for _, m := range t.writes {
		n += m.Size()
	}
	return n
}

// message returns a copy of the i-th write for another lane and event. The id is a
// message id of its own, expect the sequence that its subject must have; each is
// used if the write has one.
func (t Template) message(i int, lane, key, id, expect string) *nats.Msg {
	w := t.writes[i]
	words := strings.Split(w.Subject, ".")
	for j, word := range words {
		switch word {
		case t.lane:
			words[j] = lane
		case t.key:
			words[j] = key
		}
	}
	m := &nats.Msg{Subject: strings.Join(words, "."), Data: w.Data, Header: make(nats.Header, len(w.Header))}
	maps.Copy(m.Header, w.Header)
	if w.Header.Get(headerID) != "" {
		m.Header.Set(headerID, id)
	}
	if w.Header.Get(headerExpect) != "" {
		m.Header.Set(headerExpect, expect)
	}
	return m
}

// Recorder sees the writes that Weir makes.
type Recorder struct {
	came chan *nats.Msg
	subs []*nats.Subscription
}

// Record begins to watch subjects, in the order in which the broker gets what is
// published to them.
func Record(nc *nats.Conn, subjects ...string) (*Recorder, error) {
	r := &Recorder{came: make(chan *nats.Msg, 1<<16)}
	for _, subject := range subjects {
		sub, err := nc.ChanSubscribe(subject, r.came)
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", subject, err)
		}
		r.subs = append(r.subs, sub)
	}
	return r, nc.Flush()
}

// errUnseen is a run in which no event was seen from its claim to its outcome.
var errUnseen = errors.New("no event's writes were seen whole")

// Template ends the watch and returns the writes of the last event that was seen
// from its first write, to the ledger under $KV.<bucket>.<lane>.<key>, to its
// outcome, under weir.outcomes.<lane>.<kind>.
func (r *Recorder) Template() (Template, error) {
	for _, sub := range r.subs {
		if err := sub.Unsubscribe(); err != nil {
			return Template{}, fmt.Errorf("end the watch: %w", err)
		}
	}
	open := make(map[string]*Template)
	var last *Template
	for {
		select {
		case m := <-r.came:
			if t := enter(open, m); t != nil {
				last = t
			}
		default:
			if last == nil {
				return Template{}, errUnseen
			}
			return *last, nil
		}
	}
}

// enter adds a write to those of its event, and returns them if it is the outcome.
func enter(open map[string]*Template, m *nats.Msg) *Template {
	words := strings.Split(m.Subject, ".")
	if len(words) != 4 {
		return nil
	}
	if words[0] == "$KV" {
		t := open[words[3]]
		if t == nil {
			t = &Template{lane: words[2], key: words[3]}
			open[words[3]] = t
		}
		t.writes = append(t.writes, m)
		return nil
	}
	for key, t := range open {
		if bytes.Contains(m.Data, []byte(key)) {
			t.writes = append(t.writes, m)
			return t
		}
	}
	return nil
}
