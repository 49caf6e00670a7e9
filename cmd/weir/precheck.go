package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// check holds each event that would be published against the schema of its type and
// the routes of its lane, and fails if one does not fit.
func (p *publisher) check(sources []source) error {
	p.refused = &refusals{}
	n := 0
	for _, src := range sources {
		if src.once {
			return usageError{fmt.Errorf("%s: %w", src.name, errReadTwice)}
		}
		f := published{File: src.name}
		err := p.each(src, func(m message, bad error, t *tape) error {
			n++
			t.cut(m.end)
			if bad == nil {
				bad = p.judge(m)
			} else if _, ok := errors.AsType[fatal](bad); ok {
				return fmt.Errorf("%s: %w", m.place, bad)
			}
			if bad == nil {
				return nil
			}
			return p.fail(m, misfit{bad}, &f)
		}, func(int) {})
		if err != nil {
			return err
		}
	}
	p.refused.tell(p.app.stderr)
	if bad := p.refused.n; bad > 0 {
		return fmt.Errorf("%d of %d events do not fit; nothing was published", bad, n)
	}
	return nil
}

// legible looks through the tables before anything is published: half of one in
// another encoding must not be published, and half of it not.
func (p *publisher) legible(sources []source) error {
	for _, src := range sources {
		if src.once || src.format != "csv" && src.format != "tsv" {
			continue
		}
		r, err := p.open(src.name)
		if err != nil {
			return err
		}
		if err := errors.Join(legible(r), r.Close()); err != nil {
			return fmt.Errorf("%s: %w; nothing was published", src.name, err)
		}
	}
	return nil
}

// judge says why the lane would make a dead letter of an event, as far as that can
// be told without its request.
func (p *publisher) judge(m message) error {
	ev, notEvent := schema.Decode(m.header, m.body, maxLine)
	lane, err := p.laneOf(m, ev, notEvent)
	if err = errors.Join(notEvent, err); err != nil {
		return err
	}
	if _, err := schema.High(ev); err != nil {
		return err
	}
	if _, err := schema.LifetimeOf(ev); err != nil {
		return err
	}
	if err := p.desk.cfg.Catalog.Check(ev); err != nil {
		return err
	}
	if lc := p.desk.laneOf(lane); !lc.Routes.Handles(ev.Type()) {
		return fmt.Errorf("lane %s has no route for events of type %q", lane, clean(ev.Type()))
	}
	return nil
}

// laneOf returns a lane of the configuration, which is there.
func (d *desk) laneOf(name string) config.Lane {
	for _, lc := range d.lanes() {
		if lc.Name == name {
			return lc
		}
	}
	panic("weir: no lane " + name)
}

// show says what the columns of a table become, once, before its first row.
func (p *publisher) show(src source, delimiter rune, plan columnPlan) {
	if p.shown[src.name] {
		return
	}
	p.shown[src.name] = true
	w := p.app.stderr
	name := map[rune]string{',': "comma", ';': "semicolon", '\t': "tab"}[delimiter]
	fmt.Fprintf(w, "%s: %d columns, separated by %s\n", clean(src.name), len(plan.columns), name)
	for _, c := range plan.columns {
		to := "dropped"
		if len(c.to) > 0 {
			var all []string
			for _, m := range c.to {
				if m.as != "text" {
					m.to += " (" + m.as + ")"
				}
				all = append(all, m.to)
			}
			to = strings.Join(all, " and ")
		}
		fmt.Fprintf(w, "  %s -> %s\n", or(c.header), to)
	}
	if plan.idFrom == "" {
		fmt.Fprintln(w, "  the event's id is made of the row's content: the same row again is the same event, a changed one is another")
	}
	if plan.wantData {
		fmt.Fprintln(w, "  data.id is the event's id")
	}
}
