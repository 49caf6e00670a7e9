package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// format is the major version of entry. It rises only when an older Weir could
// no longer act rightly on what a newer one wrote.
const format = 1

// Bounds that keep an entry small, in bytes. An event's source and id may be
// longer; the key was made of the whole of them.
const (
	maxReason     = 300
	maxLineReason = 120
	maxName       = 1024
	maxOthers     = 32
	maxWaits      = 16 // causes
	maxCause      = 64
	maxGreeting   = 4 << 10
	maxJoin       = 16 << 10
)

// entry is the stored form of an intent. It is read by other versions of Weir:
// members may be added, and never change their meaning. Lane and key are in the
// subject.
type entry struct {
	V     int            `json:"v"`
	Write string         `json:"w"` // fresh with each Store
	State consumer.State `json:"state"`

	N        int `json:"n"`
	Claims   int `json:"claims,omitzero"`
	Attempts int `json:"attempts,omitzero"`

	Waits map[string]int `json:"waits,omitzero"` // by cause

	Nonce     string    `json:"nonce,omitzero"`
	Claimed   time.Time `json:"claimed,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"`

	Later    bool   `json:"postponed,omitzero"`
	Sequence uint64 `json:"sequence,omitzero"`

	Born time.Time `json:"born,omitzero"`

	Source string `json:"source,omitzero"`
	ID     string `json:"id,omitzero"`
	Type   string `json:"type,omitzero"`
	Trace  string `json:"trace,omitzero"` // traceparent
	Digest string `json:"digest,omitzero"`
	Former string `json:"former,omitzero"` // digest

	RedialOf string    `json:"redial_of,omitzero"` // an event's id
	Redial   int       `json:"redial,omitzero"`
	Next     string    `json:"next,omitzero"` // an event's id
	NextAt   time.Time `json:"next_at,omitzero"`

	Open         bool     `json:"open,omitzero"`
	Foreign      bool     `json:"foreign,omitzero"`
	Doubted      bool     `json:"doubted,omitzero"`
	Channel      string   `json:"channel,omitzero"`
	Print        string   `json:"print,omitzero"`
	Conversation string   `json:"conversation,omitzero"`
	Made         int      `json:"made,omitzero"`
	Named        []named  `json:"named,omitzero"`
	Greeting     string   `json:"greeting,omitzero"`
	Join         string   `json:"join,omitzero"` // a credential, where the lane asks for it
	Others       []string `json:"others,omitzero"`
	Class        string   `json:"class,omitzero"`
	Reason       string   `json:"reason,omitzero"`

	Forgotten time.Time `json:"forgotten,omitzero"`

	First   time.Time `json:"first,omitzero"`
	History []line    `json:"history,omitzero"`
}

// line is one stored line of a timeline.
type line struct {
	N      int            `json:"n"`
	State  consumer.State `json:"state"`
	Claim  int            `json:"claim,omitzero"`
	At     time.Time      `json:"at"`
	By     string         `json:"by,omitzero"`
	Cause  string         `json:"cause,omitzero"` // of a wait
	Reason string         `json:"reason,omitzero"`
}

// named is the stored form of what a webhook named.
type named struct {
	Conversation string    `json:"conversation"`
	Why          string    `json:"why,omitzero"`
	At           time.Time `json:"at"`
}

// states are those that an entry may have. Of one in another state nothing is known: it
// may hold a slot.
var states = consumer.States()

// unknown are the members of an entry that this version does not know.
type unknown map[string]json.RawMessage

// encode returns the stored form of in, with the members that were there
// before and that this version does not know.
func encode(in consumer.Intent, write string, extra unknown) ([]byte, error) {
	data, err := newEntry(in, write).marshal()
	if err != nil || len(extra) == 0 {
		return data, err
	}
	merged := maps.Clone(extra)
	if err := json.Unmarshal(data, &merged); err != nil {
		return nil, err
	}
	return json.Marshal(merged)
}

func newEntry(in consumer.Intent, write string) entry {
	e := entry{
		V: format, Write: write, State: in.State,
		N: in.N, Claims: in.Claims, Attempts: in.Attempts,
		Nonce: in.Nonce, Claimed: in.Claimed.UTC(), NotBefore: in.NotBefore.UTC(),
		Source: schema.Cut(in.Source, maxName), ID: schema.Cut(in.ID, maxName), Type: schema.Cut(in.Type, maxName), Trace: schema.Cut(in.Trace, maxCause), Digest: in.Digest,
		Later: in.Later, Sequence: in.Sequence, Born: in.Born.UTC(), Former: in.Former, Open: in.Open, Foreign: in.Foreign, Doubted: in.Doubted, Channel: schema.Cut(in.Channel, maxCause),
		Print: in.Print, Conversation: in.Conversation, Made: in.Made, Class: in.Class, Reason: schema.Cut(in.Reason, maxReason),
		Greeting: schema.Cut(in.Session.Greeting, maxGreeting), Join: in.Session.Join.Reveal(),
		Forgotten: in.Forgotten.UTC(), First: in.First.UTC(),
		RedialOf: schema.Cut(in.RedialOf, maxName), Redial: in.Redial, Next: schema.Cut(in.Next, maxName), NextAt: in.NextAt.UTC(),
	}
	if len(e.Join) > maxJoin { // half a credential is none
		e.Join = ""
	}
	for _, n := range in.Named {
		e.Named = append(e.Named, named{schema.Cut(n.Conversation, maxLineReason), schema.Cut(n.Why, maxLineReason), n.At.UTC()})
	}
	e.Waits = mostly(in.Waits)
	e.Others = in.Others[max(0, len(in.Others)-maxOthers):]
	for _, t := range in.History[max(0, len(in.History)-consumer.HistoryLimit):] {
		e.History = append(e.History, line{
			N: t.N, State: t.State, Claim: t.Claim, At: t.At.UTC(),
			By: schema.Cut(t.By, maxLineReason), Cause: schema.Cut(t.Cause, maxCause), Reason: schema.Cut(t.Reason, maxLineReason),
		})
	}
	return e
}

// mostly returns the causes that were counted most, nil if there are none.
func mostly(waits map[string]int) map[string]int {
	if len(waits) == 0 {
		return nil
	}
	causes := slices.SortedFunc(maps.Keys(waits), func(a, b string) int {
		return cmp.Or(cmp.Compare(waits[b], waits[a]), cmp.Compare(a, b))
	})
	kept := make(map[string]int)
	for _, cause := range causes[:min(len(causes), maxWaits)] {
		kept[schema.Cut(cause, maxCause)] += waits[cause]
	}
	return kept
}

// decode reads a stored entry.
func decode(lane, key string, data []byte) (consumer.Intent, unknown, error) {
	fail := func(problem any) (consumer.Intent, unknown, error) {
		return consumer.Intent{}, nil, fmt.Errorf("%w: entry %s.%s: %v", consumer.ErrStrange, lane, key, problem)
	}
	if e, ok := decodeKnown(data); ok {
		return e.intent(lane, key), nil, nil
	}
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fail(err)
	}
	if head.V > format {
		return fail(fmt.Sprintf("a newer Weir wrote it (format %d, this one reads %d): run the newer one", head.V, format))
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return fail(err)
	}
	if e.V < format || e.State == consumer.Absent {
		return fail("it has no format or no state")
	}
	if !slices.Contains(states, e.State) {
		return fail(fmt.Sprintf("its state %q is none that this Weir knows: run the newer one", schema.Cut(string(e.State), maxCause)))
	}
	var extra unknown
	if err := json.Unmarshal(data, &extra); err != nil {
		return fail(err)
	}
	maps.DeleteFunc(extra, func(name string, _ json.RawMessage) bool { return isMember(name) })
	return e.intent(lane, key), extra, nil
}

// isMember reports whether entry has a member of this name. The case makes no
// difference, as it makes none to the decoder: what was read as a member must not come
// back, as it was, after the member was written anew.
func isMember(name string) bool {
	for known := range members {
		if strings.EqualFold(known, name) {
			return true
		}
	}
	return false
}

// writeOf returns the id of the write that stored this value; empty if it
// cannot be read.
func writeOf(data []byte) string {
	var e struct {
		Write string `json:"w"`
	}
	if json.Unmarshal(data, &e) != nil {
		return ""
	}
	return e.Write
}

func (e entry) intent(lane, key string) consumer.Intent {
	in := consumer.Intent{
		Lane: lane, Key: key, State: e.State,
		N: e.N, Claims: e.Claims, Attempts: e.Attempts, Waits: e.Waits,
		Nonce: e.Nonce, Claimed: e.Claimed, NotBefore: e.NotBefore,
		Source: e.Source, ID: e.ID, Type: e.Type, Trace: e.Trace, Digest: e.Digest,
		Later: e.Later, Sequence: e.Sequence, Born: e.Born, Former: e.Former, Open: e.Open, Foreign: e.Foreign, Doubted: e.Doubted, Channel: e.Channel,
		Print: e.Print, Conversation: e.Conversation, Made: e.Made, Others: e.Others, Class: e.Class, Reason: e.Reason,
		Session:   consumer.Session{Greeting: e.Greeting, Join: schema.Secret(e.Join)},
		Forgotten: e.Forgotten, First: e.First,
		RedialOf: e.RedialOf, Redial: e.Redial, Next: e.Next, NextAt: e.NextAt,
	}
	for _, n := range e.Named {
		in.Named = append(in.Named, consumer.Named(n))
	}
	for _, t := range e.History {
		in.History = append(in.History, consumer.Transition{
			N: t.N, State: t.State, Claim: t.Claim, At: t.At, By: t.By, Cause: t.Cause, Reason: t.Reason,
		})
	}
	return in
}

// memoryLimit is how many entries' unknown members are remembered: far more
// than are between their Load and their Store at one time.
const memoryLimit = 4096

// memory remembers the unknown members of entries that were read or written
// lately, so that Store need not read before it writes.
type memory struct {
	mu sync.Mutex
	m  map[address]remembered
}

type remembered struct {
	revision uint64
	extra    unknown
}

func (m *memory) put(at address, revision uint64, extra unknown) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = make(map[address]remembered)
	}
	old, ok := m.m[at]
	if ok && old.revision > revision {
		return
	}
	if !ok && len(m.m) >= memoryLimit {
		for victim := range m.m {
			delete(m.m, victim)
			break
		}
	}
	m.m[at] = remembered{revision, extra}
}

func (m *memory) get(at address, revision uint64) (unknown, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.m[at]
	return r.extra, ok && r.revision == revision
}
