package guard

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// format is the major version of mark. It rises only when an older Weir could
// no longer act rightly on what a newer one wrote.
const format = 1

// mark is how far the state was: the stored form, in the broker and in the file.
type mark struct {
	V       int              `json:"v"`
	Serial  uint64           `json:"serial"`           // rises with each write
	Shelved uint64           `json:"shelved,omitzero"` // the newest serial that the broker surely has
	By      string           `json:"by,omitzero"`      // the guard that wrote it
	At      time.Time        `json:"at"`
	Streams map[string]level `json:"streams"`
	Seal    seal             `json:"seal,omitzero"` // under which the ledger was last read in full
}

// level is how far one stream was.
type level struct {
	Created time.Time `json:"created"`
	Last    uint64    `json:"last"`             // sequence
	Entries uint64    `json:"entries,omitzero"` // of the ledger: so many at least

	// What was found and accepted before: so many entries that the broker counts
	// cannot be read, and nothing at the end of the stream as it was then.
	Missing uint64 `json:"missing,omitzero"`
	Ends    uint64 `json:"ends,omitzero"`
}

func (m mark) clone() mark {
	m.Streams = maps.Clone(m.Streams)
	return m
}

// raised reports whether m says more of the streams than old does.
func (m mark) raised(old mark) bool {
	return !m.Seal.equal(old.Seal) || !maps.EqualFunc(m.Streams, old.Streams, func(a, b level) bool {
		same := a.Created.Equal(b.Created)
		a.Created, b.Created = time.Time{}, time.Time{}
		return same && a == b
	})
}

func (m mark) encode() ([]byte, error) { return json.Marshal(m) }

// decodeMark reads a stored mark; where says of which one an error is.
func decodeMark(where string, data []byte) (mark, error) {
	var m mark
	err := json.Unmarshal(data, &m)
	if m.V > format { // whatever else it has
		err = fmt.Errorf("a newer Weir wrote it (format %d, this one reads %d): run the newer one", m.V, format)
	}
	if err != nil {
		return mark{}, fmt.Errorf("the mark in %s: %w", where, err)
	}
	return m, nil
}

// Finding is something that should be there and is not.
type Finding struct {
	Lane   string // that it belongs to; empty: all of them
	Stream string
	Text   string // what was expected and what was found, for a person
}

// String returns the finding as one line.
func (f Finding) String() string { return "stream " + f.Stream + " " + f.Text }

// compare says what the streams have lost since a mark.
func compare(m mark, now map[string]survey, ledger string) []Finding {
	var found []Finding
	add := func(stream, format string, args ...any) {
		found = append(found, Finding{Stream: stream, Text: fmt.Sprintf(format, args...)})
	}
	for _, stream := range sorted(m.Streams) {
		was, is := m.Streams[stream], now[stream]
		switch {
		case is.gone:
			add(stream, "is gone; it had %d as its last sequence", was.Last)
		case !is.created.Equal(was.Created):
			add(stream, "was made anew at %s; the one of before was from %s and had %d as its last sequence",
				stamp(is.created), stamp(was.Created), was.Last)
		case is.last < was.Last:
			add(stream, "ends at sequence %d, and ended at %d or later before", is.last, was.Last)
		case stream == ledger && is.entries < was.Entries:
			add(stream, "has %d entries, and had %d or more before", is.entries, was.Entries)
		}
	}
	return found
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
