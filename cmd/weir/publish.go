package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/weirhq/weir/internal/broker"
)

// publishCmd is weir publish.
type publishCmd struct {
	Files    []string `arg:"" name:"file" help:"Files of events, and folders of them: .json (one or an array), .csv and .tsv (a row each), else one JSON value a line; - for standard input."`
	Lane     string   `placeholder:"NAME" help:"Lane for all events; default: each event's weirlane, or the only lane."`
	Priority string   `enum:",high" default:"" placeholder:"high" help:"high: all events go before the lane's others; default: those whose priority is high."`
	Mode     string   `enum:"structured,binary,as-is" default:"as-is" help:"How events are written: ${enum} (${default})."`
	layout
	Rate     float64 `placeholder:"N" help:"Publish at most N events a second."`
	Position string  `placeholder:"FILE" help:"Keep there how far each file was published, and go on from there."`
	Refused  string  `placeholder:"FILE" help:"Write what was refused there, with its reason, one JSON object a line."`
	Check    bool    `help:"Hold all events against schemas and routes first; publish nothing if one does not fit."`
}

// layout is what the files hold that events are read from.
type layout struct {
	Format string   `enum:"auto,json,ndjson,csv,tsv" default:"auto" help:"What the files hold: ${enum} (${default}: by the name)."`
	Type   string   `default:"lead.created" placeholder:"TYPE" help:"Of a table: the events' type (${default})."`
	Source string   `placeholder:"SOURCE" help:"Of a table: the events' source, such as /import/spring-fair. The same list has the same source each time."`
	Map    []string `sep:"none" placeholder:"MEMBER=COLUMN" help:"Of a table: what a column becomes, as data.phone=Mobile, id=Number, data.score:number=Score, --map=-=Notes (dropped); or a YAML or JSON file of such pairs. May be repeated."`
}

// spec is how the rows of tables become events.
func (l layout) spec() (tableSpec, error) {
	maps, err := parseMaps(l.Map)
	return tableSpec{eventType: l.Type, source: l.Source, maps: maps}, err
}

// published counts what became of one file's events.
type published struct {
	File       string    `json:"file"`
	Skipped    int       `json:"skipped,omitzero"` // published before, by the position
	Events     int       `json:"events"`
	Published  int       `json:"published"`
	Duplicates int       `json:"duplicates"` // the broker had them already
	Failed     int       `json:"failed"`
	Refused    []refusal `json:"refused,omitempty"` // the first of those that failed
}

// Run publishes one event after the other, each when the broker has confirmed
// the one before: the order of a file is the order of its calls.
func (c *publishCmd) Run(a *app) error {
	spec, err := c.spec()
	if err = errors.Join(err, c.checkFlags()); err != nil {
		return usageError{err}
	}
	sources, err := c.sources(c.Files, a.passOver, c.own()...)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) (err error) {
		if c.Lane != "" {
			if err := d.checkLane(c.Lane); err != nil {
				return err
			}
		}
		_, err = d.broker.JetStream().Stream(a.ctx, broker.StreamEvents)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return errNeverServed
		}
		if err != nil {
			return err
		}
		p := &publisher{app: a, desk: d, lane: c.Lane, high: c.Priority == "high", mode: c.Mode, spec: spec, began: time.Now(), shown: make(map[string]bool)}
		if c.Rate > 0 {
			p.rate = rate.NewLimiter(rate.Limit(c.Rate), 1)
		}
		if p.positions, err = readPositions(c.Position, c.settings()); err != nil {
			return err
		}
		if err := p.legible(sources); err != nil {
			return err
		}
		if c.Check {
			if err := p.check(sources); err != nil {
				return err
			}
		}
		if p.refused, err = c.refusals(len(p.positions.Files) > 0); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.refused.close()) }()
		return p.files(sources)
	})
}

// checkFlags refuses what does not go together.
func (c *publishCmd) checkFlags() error {
	switch {
	case c.Rate < 0 || math.IsNaN(c.Rate):
		return errors.New("--rate is a number of events a second above 0")
	case c.Check && slices.Contains(c.Files, "-"):
		return errReadTwice
	case c.Position != "" && c.Refused != "" && keyOf(c.Position) == keyOf(c.Refused):
		return errors.New("--position and --refused are two files")
	}
	return nil
}

var errReadTwice = errors.New("--check reads everything twice, which standard input and a pipe cannot be: put it into a file")

// own are the files that the command itself writes.
func (c *publishCmd) own() (names []string) {
	switch {
	case c.Refused != "":
		names = append(names, c.Refused)
	case c.Position != "":
		names = append(names, c.Position+lateRefused)
	}
	if c.Position != "" {
		names = append(names, c.Position)
	}
	return names
}

// settings is a print of what makes of the same file other events, or events of
// another lane.
func (c *publishCmd) settings() string {
	maps, _ := parseMaps(c.Map) // it was parsed before
	h := sha256.New()
	for _, part := range append([]string{c.Lane, c.Priority, c.Mode, c.Format, c.Type, c.Source}, fmt.Sprintf("%+v", maps)) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
