package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Record is one line of the history.
type Record struct {
	At    time.Time `json:"at"`
	Seed  uint64    `json:"seed"`
	Round int       `json:"round"`
	Kind  string    `json:"kind"` // round, fault, heal, repair, process, check, doubt, finding, skip, run
	Name  string    `json:"name,omitempty"`
	Text  string    `json:"text,omitempty"`
}

// History appends to the file of what was done and seen. Its methods may be
// called concurrently.
type History struct {
	mu    sync.Mutex
	file  *os.File
	seed  uint64
	round int
	spans []Span
	err   error // the first line that could not be written
}

// Span is a time in which something was disturbed.
type Span struct {
	Name     string
	From, To time.Time // To is zero while it lasts
}

// OpenHistory opens the file of a run, and makes it if there is none.
func OpenHistory(path string, seed uint64) (*History, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	return &History{file: f, seed: seed}, nil
}

// Begin sets the round of the records to come, and forgets the spans of the last.
func (h *History) Begin(round int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.round, h.spans = round, nil
}

// Note appends a record.
func (h *History) Note(kind, name, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(kind, name, text)
}

// note appends a record; the caller holds mu.
func (h *History) note(kind, name, text string) {
	line, err := json.Marshal(Record{time.Now().UTC(), h.seed, h.round, kind, name, text})
	if err == nil {
		_, err = h.file.Write(append(line, '\n'))
	}
	if h.err == nil {
		h.err = err
	}
}

// Disturb appends a record of a fault and begins its span, which the returned
// function ends.
func (h *History) Disturb(name, text string) (heal func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("fault", name, text)
	h.spans = append(h.spans, Span{Name: name, From: time.Now()})
	i, round := len(h.spans)-1, h.round
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.round == round {
			h.note("heal", name, "")
			h.spans[i].To = time.Now()
		}
	})
}

// Spans returns the disturbances of the round so far.
func (h *History) Spans() []Span {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Span(nil), h.spans...)
}

// Close closes the file. The error tells also of a line that is missing in it.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.file.Close()
	if h.err != nil {
		return fmt.Errorf("the history has a gap: %w", h.err)
	}
	return err
}
