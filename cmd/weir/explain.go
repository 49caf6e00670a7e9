package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// explainCmd is weir explain.
type explainCmd struct {
	Files []string `arg:"" optional:"" name:"file" help:"Files of events and folders of them, as weir publish takes them; - for standard input."`
	layout
	Lane   string `placeholder:"NAME" help:"Lane for all events; default: each event's weirlane, or the only lane."`
	Mask   bool   `help:"Mask personal data, so that what is printed can be passed on."`
	Golden string `placeholder:"DIR" help:"Compare each event NAME.json of a folder with NAME.golden.json beside it."`
	Update bool   `help:"With --golden: write the golden files anew."`
}

// Run explains each event, and fails if one would be refused.
func (c *explainCmd) Run(a *app) error {
	switch {
	case c.Golden == "" && c.Update:
		return usageError{errors.New("--update goes with --golden DIR")}
	case c.Golden == "" && len(c.Files) == 0:
		return usageError{errors.New("name a file of events, - for standard input, or --golden DIR")}
	case c.Golden != "" && len(c.Files) > 0:
		return usageError{errors.New("--golden takes its events from its folder: name no other files")}
	}
	spec, err := c.spec()
	if err != nil {
		return usageError{err}
	}
	x, err := newExplainer(a, c.Lane)
	if err != nil {
		return err
	}
	if c.Golden != "" {
		return x.golden(c.Golden, c.Update)
	}
	sources, err := c.sources(c.Files, a.passOver)
	if err != nil {
		return err
	}
	x.publisher.spec = spec
	p := &explanations{app: a, mask: c.Mask, w: a.stdout}
	for _, src := range sources {
		if err := x.file(src, p.add); err != nil {
			return errors.Join(err, p.end())
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	if p.refused > 0 {
		return fmt.Errorf("%d of %d events would be refused", p.refused, p.count)
	}
	return nil
}

// newExplainer reads the configuration, which may lie where nothing is that it
// names.
func newExplainer(a *app, lane string) (*explainer, error) {
	cfg, err := a.blindConfig()
	if err != nil {
		return nil, err
	}
	d := &desk{cfg: cfg}
	if lane != "" {
		if err := d.checkLane(lane); err != nil {
			return nil, err
		}
	}
	x := &explainer{app: a, cfg: cfg, publisher: &publisher{app: a, desk: d, lane: lane, shown: make(map[string]bool)}, now: time.Now()}
	return x, x.connect()
}

// file explains the events of one file.
func (x *explainer) file(src source, tell func(explained) error) error {
	r, err := x.publisher.open(src.name)
	if err != nil {
		return err
	}
	defer r.Close()
	for m, err := range x.publisher.messages(src, r) {
		if x.app.ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", x.app.ctx.Err())
		}
		var e explained
		if err != nil {
			e = unreadable(m, err)
		} else {
			e = x.explain(m)
		}
		if err := tell(e); err != nil {
			return err
		}
	}
	return nil
}

// explanations prints them as they come, and in the end a table of them.
type explanations struct {
	app     *app
	w       io.Writer
	mask    bool
	count   int
	refused int
	rows    []string
}

// mostRows are in the table at the end.
const mostRows = 10_000

func (p *explanations) add(e explained) error {
	if p.mask {
		e = e.masked()
	}
	p.count++
	if e.Result == resultRefused {
		p.refused++
	}
	if p.app.flags.Output == "json" {
		return p.element(e)
	}
	if p.count > 1 {
		fmt.Fprintln(p.w)
	}
	if len(p.rows) < mostRows {
		p.rows = append(p.rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", or(e.Place), or(e.ID), or(e.Lane), e.route(), e.result(), or(e.Reason)))
	}
	return e.draw(p.w)
}

// element writes one more element of the JSON array.
func (p *explanations) element(e explained) error {
	before := ",\n  "
	if p.count == 1 {
		before = "[\n  "
	}
	b, err := encodeJSON(e, "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.w, before+b)
	return err
}

// end closes the array, or draws the table of several events.
func (p *explanations) end() error {
	switch {
	case p.app.flags.Output == "json" && p.count == 0:
		_, err := io.WriteString(p.w, "[]\n")
		return err
	case p.app.flags.Output == "json":
		_, err := io.WriteString(p.w, "\n]\n")
		return err
	case p.count < 2:
		return nil
	}
	fmt.Fprintln(p.w)
	tw := &tabulator{w: p.w}
	fmt.Fprintln(tw, "PLACE\tEVENT\tLANE\tROUTE\tRESULT\tREASON")
	for _, row := range p.rows {
		fmt.Fprintln(tw, row)
	}
	if more := p.count - len(p.rows); more > 0 {
		fmt.Fprintf(tw, "and %d more\n", more)
	}
	return tw.flush()
}

// encodeJSON writes a value as the commands do, with a text before each line but
// the first. Nothing in it is for an HTML page.
func encodeJSON(v any, prefix string) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, "  ")
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// route draws the route that matched.
func (e explained) route() string {
	if e.Route == nil {
		return "-"
	}
	return strconv.Itoa(*e.Route)
}

// result draws the result with the class of a refusal.
func (e explained) result() string {
	if e.Class == "" {
		return e.Result
	}
	return e.Result + " (" + e.Class + ")"
}

// draw writes one explanation: the steps, then the request as it would go out.
func (e explained) draw(w io.Writer) error {
	fmt.Fprintln(w, clean(e.Place))
	for _, s := range e.Steps {
		fmt.Fprintf(w, "  %-8s %-8s %s\n", s.Step, s.Result, clean(s.Text))
		if s.Step != stepRoute {
			continue
		}
		for i, r := range e.Routes {
			fmt.Fprintf(w, "  %17s %s\n", "", clean(r.line(i)))
		}
	}
	if e.Request == nil {
		return nil
	}
	fmt.Fprintf(w, "\n  %s %s\n", e.Request.Method, clean(e.Request.URL))
	for _, name := range slices.Sorted(maps.Keys(e.Request.Header)) {
		fmt.Fprintf(w, "  %s: %s\n", name, clean(strings.Join(e.Request.Header[name], ", ")))
	}
	_, err := fmt.Fprintf(w, "\n  %s\n", clean(string(e.Request.Body)))
	return err
}

// line tells what came of one route.
func (r triedRoute) line(i int) string {
	s := fmt.Sprintf("routes[%d], type %s", i, r.Type)
	switch {
	case !r.Fits:
		return s + ": another type"
	case r.When == "":
		return s + ": matches"
	}
	s += ", when " + r.When
	if r.Holds {
		s += ": holds"
	} else {
		s += ": does not hold"
	}
	for _, read := range r.Reads {
		s += fmt.Sprintf("; %s is %s", read.Path, cmp.Or(string(read.Value), "absent"))
	}
	return s
}
