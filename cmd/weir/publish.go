package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// publishCmd is weir publish.
type publishCmd struct {
	Files    []string `arg:"" name:"file" help:"Files of events: .json (one or an array), else one JSON value a line; - for standard input."`
	Lane     string   `placeholder:"NAME" help:"Lane for all events; default: each event's weirlane, or the only lane."`
	Priority string   `enum:",high" default:"" placeholder:"high" help:"high: all events go before the lane's others; default: those whose priority is high."`
	Mode     string   `enum:"structured,binary,as-is" default:"as-is" help:"How events are written: ${enum} (${default})."`
}

// published counts what became of one file's events.
type published struct {
	File       string `json:"file"`
	Events     int    `json:"events"`
	Published  int    `json:"published"`
	Duplicates int    `json:"duplicates"` // the broker had them already
	Failed     int    `json:"failed"`
}

// Run publishes one event after the other, each when the broker has confirmed
// the one before: the order of a file is the order of its calls.
func (c *publishCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		if c.Lane != "" {
			if err := d.checkLane(c.Lane); err != nil {
				return err
			}
		}
		_, err := d.broker.JetStream().Stream(a.ctx, broker.StreamEvents)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return errNeverServed
		}
		if err != nil {
			return err
		}
		p := &publisher{app: a, desk: d, lane: c.Lane, high: c.Priority == "high", mode: c.Mode}
		return p.files(c.Files)
	})
}

// publisher publishes files.
type publisher struct {
	app  *app
	desk *desk
	lane string // for all; empty: each event's own
	high bool   // for all; false: each event's own
	mode string

	drawn   time.Time // when the progress was last drawn
	nowhere bool      // an event named no lane
}

// files publishes each file, tells what became of them, and fails if anything
// was not published.
func (p *publisher) files(names []string) error {
	var all []published
	var total published
	var stopped error
	for _, name := range names {
		f := published{File: name}
		stopped = p.file(name, &f)
		all = append(all, f)
		total.Events += f.Events
		total.Failed += f.Failed
		if stopped != nil {
			break
		}
	}
	p.clear()
	err := p.app.print(all, func(w io.Writer) {
		fmt.Fprintln(w, "FILE\tEVENTS\tPUBLISHED\tDUPLICATES\tFAILED")
		for _, f := range all {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", f.File, f.Events, f.Published, f.Duplicates, f.Failed)
		}
	})
	if stopped == nil && total.Failed > 0 {
		stopped = fmt.Errorf("%d of %d events were not published", total.Failed, total.Events)
	}
	if p.nowhere {
		stopped = usageError{stopped}
	}
	return errors.Join(err, stopped)
}

// file publishes one file. Its error ends the whole command: after it, going on
// would change the order.
func (p *publisher) file(name string, f *published) error {
	r, err := p.open(name)
	if err != nil {
		f.Failed++
		return err
	}
	defer r.Close()
	for m, err := range messages(name, r) {
		if p.app.ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", p.app.ctx.Err())
		}
		f.Events++
		duplicate := false
		if err == nil {
			duplicate, err = p.send(m)
		} else {
			err = misfit{err}
		}
		switch {
		case err == nil && duplicate:
			f.Duplicates++
		case err == nil:
			f.Published++
		default:
			f.Failed++
			if err := p.fail(m, err); err != nil {
				return err
			}
		}
		p.progress(f)
	}
	return nil
}

// open opens a file. A read of standard input ends with the command: a terminal
// that nobody types at must not keep it.
func (p *publisher) open(name string) (io.ReadCloser, error) {
	if name != "-" {
		return os.Open(name)
	}
	r, w := io.Pipe()
	go func() { // ends with the input, at the latest with the process
		_, err := io.Copy(w, p.app.stdin)
		_ = w.CloseWithError(err) // never fails
	}()
	context.AfterFunc(p.app.ctx, func() { _ = r.CloseWithError(p.app.ctx.Err()) })
	return r, nil
}

// misfit is an error of one event alone: the others can be published.
type misfit struct{ error }

func (e misfit) Unwrap() error { return e.error }

// fail tells of an event that was not published, and returns the error if it is
// not the event's own.
func (p *publisher) fail(m message, err error) error {
	if p.app.ctx.Err() != nil {
		return fmt.Errorf("%s: interrupted: %w", m.place, p.app.ctx.Err())
	}
	if _, ok := errors.AsType[misfit](err); ok {
		p.clear()
		fmt.Fprintf(p.app.stderr, "weir: %s: %v\n", m.place, err)
		return nil
	}
	return fmt.Errorf("%s: %w; nothing after it was published; publish the file again: nobody is called twice for one event, however often it is published", m.place, err)
}

// send publishes one message.
func (p *publisher) send(m message) (duplicate bool, err error) {
	ev, notEvent := schema.Decode(m.header, m.body, maxLine)
	lane, err := p.laneOf(m, ev, notEvent)
	if err != nil {
		return false, misfit{err}
	}
	if notEvent == nil && p.mode != "as-is" {
		mode := schema.Structured
		if p.mode == "binary" {
			mode = schema.Binary
		}
		if m.header, m.body, err = schema.Encode(ev, mode); err != nil {
			return false, misfit{err}
		}
	}
	id, high := rawID(lane, m), false
	if notEvent == nil {
		id = messageID(lane, ev)
		if high, err = schema.High(ev); err != nil {
			return false, misfit{err}
		}
	}
	publish := p.desk.broker.PublishEvent
	if high || p.high {
		publish = p.desk.broker.PublishHigh
	}
	placed, err := publish(p.app.ctx, lane, m.header, m.body, id)
	if errors.Is(err, nats.ErrMaxPayload) {
		return false, misfit{fmt.Errorf("the event has %d bytes, and the broker takes %d at most (its max_payload): %w", len(m.body), p.desk.broker.JetStream().Conn().MaxPayload(), err)}
	}
	return placed.Duplicate, err
}

// messageID is the same for the same event in the same lane, and another for
// another content under the same id, which must reach the lane (H7).
func messageID(lane string, ev event.Event) string {
	return consumer.Key(lane, ev.Source(), ev.ID()) + "." + schema.Digest(ev)[:8]
}

// rawID is the same for the same message in the same lane, which cannot be read
// as an event: published again within the broker's two minutes, it becomes no
// second dead letter.
func rawID(lane string, m message) string {
	h := sha256.New()
	part := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	part(lane)
	for _, name := range slices.Sorted(maps.Keys(m.header)) {
		part(name)
		fmt.Fprintf(h, "%d;", len(m.header[name]))
		for _, value := range m.header[name] {
			part(value)
		}
	}
	h.Write([]byte{'\n'})
	h.Write(m.body)
	return hex.EncodeToString(h.Sum(nil))
}

// laneOf returns the lane that the message is for.
func (p *publisher) laneOf(m message, ev event.Event, notEvent error) (string, error) {
	if p.lane != "" {
		return p.lane, nil
	}
	name := wishedLane(m)
	if notEvent == nil {
		name, _ = ev.Extensions()["weirlane"].(string)
	}
	names := p.desk.laneNames()
	if name == "" && len(names) == 1 {
		return names[0], nil
	}
	if name == "" {
		p.nowhere = true
		return "", fmt.Errorf("the event names no lane (weirlane); give --lane with one of: %s", strings.Join(names, ", "))
	}
	return name, p.desk.checkLane(name)
}

// wishedLane is the weirlane of a message that cannot be read as an event, so
// that it becomes a dead letter of the lane that it was meant for.
func wishedLane(m message) string {
	for name, values := range m.header {
		if strings.EqualFold(name, "ce-weirlane") && len(values) > 0 {
			return strings.Trim(values[0], ` "`)
		}
	}
	var attributes struct {
		Lane string `json:"weirlane"`
	}
	if json.Unmarshal(m.body, &attributes) != nil {
		return ""
	}
	return attributes.Lane
}

// progress draws where the command is, on a terminal ten times a second.
func (p *publisher) progress(f *published) {
	if !isTerminal(p.app.stderr) || time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.app.stderr, "\r%s: %d published, %d duplicates, %d failed ", f.File, f.Published, f.Duplicates, f.Failed)
}

// clear takes the progress away.
func (p *publisher) clear() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.app.stderr, "\r\x1b[K")
		p.drawn = time.Time{}
	}
}
