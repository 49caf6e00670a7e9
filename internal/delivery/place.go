package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/schema"
)

// placeFormat is the major version of Place.
const placeFormat = 1

// Bounds of a place: with all of them it has less than 32 KiB.
const (
	mostHeld       = 64 // of those that have faults of their own, and of what waits behind them
	mostOpen       = mostHeld + readAhead
	mostReason     = 200
	mostHeldReason = 100
)

// Place is how far a lane has come, as it is stored in WEIR_LANES.
type Place struct {
	V      int       `json:"v"`
	Stream time.Time `json:"stream"` // when the stream of the outcomes was made
	Floor  uint64    `json:"floor"`
	Held   []Held    `json:"held,omitempty"` // at or below Floor, and not delivered
	// Since is when the endpoint began to fail, and Reason why; zero while it does
	// not.
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitzero"`
}

// Held is an outcome that is tried again, or waits behind one of its event that is.
type Held struct {
	Sequence  uint64    `json:"seq"`
	ID        string    `json:"id"`
	Intent    string    `json:"intent,omitzero"`
	Published time.Time `json:"published"`
	First     time.Time `json:"first,omitzero"` // since when it fails; zero: it waits
	Next      time.Time `json:"next,omitzero"`  // not before
	Tries     int       `json:"tries"`          // with a fault of its own
	Reason    string    `json:"reason,omitzero"`
}

// ReadPlace reads a stored place.
func ReadPlace(data []byte) (Place, error) {
	var p Place
	err := json.Unmarshal(data, &p)
	if p.V > placeFormat { // whatever else it has
		err = errors.New("a newer Weir wrote it: run the newer one")
	}
	if err != nil {
		return p, fmt.Errorf("read the place: %w", err)
	}
	return p, nil
}

// encode is the place as it is stored.
func (p Place) encode() []byte {
	p.V = placeFormat
	data, _ := json.Marshal(p) // numbers, texts and times always encode
	return data
}

// in fits the place to the stream as it is. Of a stream that was made anew, and of
// one that was brought back from a backup, nothing is skipped.
func (p Place) in(created time.Time, last uint64) Place {
	if !p.Stream.Equal(created) {
		return Place{Stream: created, Since: p.Since, Reason: p.Reason}
	}
	p.Floor = min(p.Floor, last)
	return p
}

// cut is a reason that fits into a place.
func cut(reason string) string { return schema.Cut(reason, mostReason) }
