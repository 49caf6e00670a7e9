package simulator

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// proofVersion is the version of the stored form below.
const proofVersion = 1

// proofLine is the stored form of one line of the proof log.
type proofLine struct {
	Version  int       `json:"v"`
	At       time.Time `json:"at"`
	Event    string    `json:"event"` // made, ended or refused
	Provider string    `json:"provider"`
	Channel  string    `json:"channel"`
	ID       string    `json:"id"`
	ClientID string    `json:"client_id,omitzero"`
	Intent   string    `json:"intent"`
	Attempt  int       `json:"attempt"`
	Number   string    `json:"number"`
	Agent    string    `json:"agent"`
	Hidden   bool      `json:"hidden"`
	Fault    string    `json:"fault"`
}

// proof is the log of what was really made.
type proof struct {
	lg zerolog.Logger

	mu  sync.Mutex
	out io.Writer // nil: nothing is written
	err error     // the first failure
}

// write appends one line, in one Write. A failure is kept for the report and
// logged once: the conversation exists all the same.
func (p *proof) write(at time.Time, event string, c Conversation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil {
		return
	}
	line, err := json.Marshal(proofLine{
		Version: proofVersion, At: at.UTC(), Event: event, Provider: c.Provider, Channel: c.Channel,
		ID: c.ID, ClientID: c.ClientID, Intent: c.Intent, Attempt: c.Attempt, Number: c.Number, Agent: c.Agent,
		Hidden: c.Hidden, Fault: c.Fault,
	})
	if err == nil {
		_, err = p.out.Write(append(line, '\n'))
	}
	if err != nil && p.err == nil {
		p.err = err
		p.lg.Error().Err(err).Msg("proof log has a gap")
	}
}

// failure returns the first error as text, empty if there was none.
func (p *proof) failure() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return ""
	}
	return p.err.Error()
}
