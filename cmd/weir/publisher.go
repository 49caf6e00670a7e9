package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// publisher publishes files.
type publisher struct {
	app  *app
	desk *desk
	lane string // for all; empty: each event's own
	high bool   // for all; false: each event's own
	mode string
	spec tableSpec

	rate      *rate.Limiter // nil: as fast as the broker confirms
	positions *positions
	refused   *refusals

	began   time.Time
	done    int       // events confirmed
	drawn   time.Time // when the progress was last drawn
	nowhere bool      // an event named no lane

	shown map[string]bool // tables whose columns were shown
}

// files publishes each file, tells what became of them, and fails if anything
// was not published.
func (p *publisher) files(sources []source) error {
	var all []published
	var total published
	var stopped error
	for _, src := range sources {
		f := published{File: src.name}
		stopped = p.file(src, &f)
		all = append(all, f)
		total.Events += f.Events
		total.Failed += f.Failed
		total.Skipped += f.Skipped
		if stopped != nil {
			break
		}
	}
	p.clear()
	p.refused.tell(p.app.stderr)
	err := p.app.print(all, func(w io.Writer) { drawPublished(w, all, total.Skipped > 0) })
	if stopped == nil && total.Failed > 0 {
		stopped = fmt.Errorf("%d of %d events were not published", total.Failed, total.Events)
	}
	if p.nowhere {
		stopped = usageError{stopped}
	}
	return errors.Join(err, stopped)
}

func drawPublished(w io.Writer, all []published, skipped bool) {
	fmt.Fprint(w, "FILE\tEVENTS\tPUBLISHED\tDUPLICATES\tFAILED")
	if skipped {
		fmt.Fprint(w, "\tBEFORE")
	}
	fmt.Fprintln(w)
	for _, f := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d", clean(f.File), f.Events, f.Published, f.Duplicates, f.Failed)
		if skipped {
			fmt.Fprintf(w, "\t%d", f.Skipped)
		}
		fmt.Fprintln(w)
	}
}

// file publishes one file. Its error ends the whole command: after it, going on
// would change the order.
func (p *publisher) file(src source, f *published) (err error) {
	defer func() { err = errors.Join(err, p.positions.save(p.refused.sync)) }()
	return p.each(src, func(m message, bad error, t *tape) error {
		f.Events++
		duplicate := false
		if bad == nil {
			duplicate, bad = p.send(m)
		} else if _, ok := errors.AsType[fatal](bad); !ok {
			bad = misfit{bad}
		}
		switch {
		case bad == nil && duplicate:
			f.Duplicates++
		case bad == nil:
			f.Published++
		default:
			f.Failed++
			if err := p.fail(m, bad, f); err != nil {
				return err
			}
		}
		p.done++
		p.progress(src, f, m.end)
		if m.end == 0 { // an error of the file as a whole: it is met again
			return nil
		}
		t.cut(m.end)
		at := position{Offset: m.end, Place: m.place, Size: src.size, Print: t.print()}
		return p.positions.move(src.name, at, p.refused.sync)
	}, func(int) { f.Skipped++ })
}

// each calls visit with each message of a file behind its position, and passed with
// each one before.
func (p *publisher) each(src source, visit func(m message, bad error, t *tape) error, passed func(int)) error {
	r, err := p.open(src.name)
	if err != nil {
		return err
	}
	defer r.Close()
	t := newTape(r)
	before := p.positions.Files[keyOf(src.name)]
	for m, bad := range p.messages(src, t) {
		if p.app.ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", p.app.ctx.Err())
		}
		if before.Offset > 0 {
			if m.end == 0 {
				return fmt.Errorf("%s: %w", m.place, cmp.Or(bad, errChanged(before)))
			}
			reached, err := t.pass(m.end, before)
			if err != nil {
				return fmt.Errorf("%s: %w", src.name, err)
			}
			if passed(1); reached {
				before = position{}
			}
			continue
		}
		if err := visit(m, bad, t); err != nil {
			return err
		}
	}
	if before.Offset > 0 {
		return fmt.Errorf("%s: %w", src.name, errChanged(before))
	}
	return nil
}

// messages yields what a file holds.
func (p *publisher) messages(src source, r io.Reader) iter.Seq2[message, error] {
	br, start := unmarked(r)
	switch src.format {
	case "csv", "tsv":
		return rows(src.name, br, start, src.format == "tsv", p.spec, func(delimiter rune, plan columnPlan) { p.show(src, delimiter, plan) })
	case "json":
		return documents(src.name, br, start)
	default:
		return lines(src.name, br, start)
	}
}

// misfit is an error of one event alone: the others can be published.
type misfit struct{ error }

func (e misfit) Unwrap() error { return e.error }

// fail tells of an event that was not published, and returns the error if it is
// not the event's own.
func (p *publisher) fail(m message, err error, f *published) error {
	if p.app.ctx.Err() != nil {
		return fmt.Errorf("%s: interrupted: %w", m.place, p.app.ctx.Err())
	}
	if _, ok := errors.AsType[fatal](err); ok {
		return fmt.Errorf("%s: %w; nothing of this file after it was published", m.place, err)
	}
	if _, ok := errors.AsType[misfit](err); ok {
		if p.refused.n < mostRefused {
			p.clear()
			fmt.Fprintf(p.app.stderr, "weir: %s: %s\n", clean(m.place), clean(err.Error()))
			f.Refused = append(f.Refused, refusal{Place: m.place, Reason: err.Error()})
		}
		return p.refused.add(m, err)
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
	if notEvent != nil && m.made {
		return false, misfit{notEvent}
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
		if high, err = schema.High(ev); err == nil {
			_, err = schema.LifetimeOf(ev)
		}
		if err != nil {
			return false, misfit{err}
		}
	}
	publish := p.desk.broker.PublishEvent
	if high || p.high {
		publish = p.desk.broker.PublishHigh
	}
	if p.rate != nil {
		if err := p.rate.Wait(p.app.ctx); err != nil {
			return false, err
		}
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
func (p *publisher) progress(src source, f *published, end int64) {
	if !isTerminal(p.app.stderr) || time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	percent := ""
	if src.size > 0 {
		percent = fmt.Sprintf("%d %%, ", min(100, 100*end/src.size))
	}
	each := float64(p.done) / max(time.Since(p.began).Seconds(), .001)
	fmt.Fprintf(p.app.stderr, "\r%s: %s%d published, %d duplicates, %d failed, %.0f a second \x1b[K", clean(src.name), percent, f.Published, f.Duplicates, f.Failed, each)
}

// clear takes the progress away.
func (p *publisher) clear() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.app.stderr, "\r\x1b[K")
		p.drawn = time.Time{}
	}
}
