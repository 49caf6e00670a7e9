package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/schema"
)

// contactCmd is weir contact.
type contactCmd struct {
	Block  contactBlockCmd  `cmd:"" help:"Forbid to contact people, in your name. It holds from the next claim on."`
	Allow  contactAllowCmd  `cmd:"" help:"Take blocks back, in your name."`
	List   contactListCmd   `cmd:"" help:"List who must not be contacted, personal data masked."`
	Show   contactShowCmd   `cmd:"" help:"Show what is known of one person."`
	Import contactImportCmd `cmd:"" help:"Block everybody in a file, in your name."`
}

// contactChoice names people and lanes.
type contactChoice struct {
	People []string `arg:"" name:"person" help:"Numbers such as +14155550123, or e-mail addresses."`
	contactWhere
}

// contactWhere says in which lanes, and how numbers are read.
type contactWhere struct {
	Lane   string `placeholder:"NAME" help:"In this lane alone; default: in all lanes, also those to come."`
	Region string `placeholder:"CODE" help:"Of numbers without a country, such as DE; default: the lane's contact.region."`
}

// where is where a choice holds, for a person.
func (c contactWhere) where() string {
	if c.Lane == "" {
		return "in all lanes"
	}
	return "in lane " + c.Lane
}

// region is that of numbers without a country.
func (c contactWhere) region(cfg *config.Config) (string, error) {
	if c.Region != "" && !register.CheckRegion(strings.ToUpper(c.Region)) {
		return "", usageError{fmt.Errorf("no region is called %q; give one such as DE or US", c.Region)}
	}
	if c.Region == "" {
		for _, lc := range (&desk{cfg: cfg}).lanes() {
			if lc.Name == c.Lane && lc.Contact != nil {
				return lc.Contact.Region, nil
			}
		}
	}
	return strings.ToUpper(c.Region), nil
}

// people reads the persons, all of them before anything is done.
func (c contactChoice) people(cfg *config.Config) ([]register.Person, error) {
	region, err := c.region(cfg)
	if err != nil {
		return nil, err
	}
	people := make([]register.Person, len(c.People))
	for i, text := range c.People {
		if people[i], err = register.ParsePerson(text, region); err != nil {
			return nil, usageError{fmt.Errorf("person %d: %w", i+1, err)}
		}
	}
	return people, nil
}

// listed is what a command of contacts works with.
type listed struct {
	*desk
	register *register.Register
}

// atList connects to the list, which is made if there is none: people can be blocked
// before weir serve runs for the first time.
func (a *app) atList(lane string, work func(*listed) error) error {
	cfg, err := a.load(config.LoadBlocks)
	if err != nil {
		return err
	}
	return a.withBroker(cfg, func(b *broker.Broker) error {
		d := &listed{desk: &desk{cfg: cfg, broker: b}}
		if lane != "" {
			if err := d.checkLane(lane); err != nil {
				return err
			}
		}
		_, err := b.JetStream().Stream(a.ctx, broker.StreamContact)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if cfg.Embedded != nil {
				return errNeverServed
			}
			err = b.ProvisionContact(a.ctx)
		}
		if err != nil {
			return err
		}
		if d.register, err = register.Open(a.ctx, b, register.Config{Key: cfg.Blocks.Key}); err != nil {
			return err
		}
		return work(d)
	})
}

// contactChange is what became of one person.
type contactChange struct {
	Person  string `json:"person"` // masked
	Lane    string `json:"lane,omitzero"`
	Changed bool   `json:"changed"`
	Result  string `json:"result"`
}

// changes does something about each person, and prints what became of it.
func (d *listed) changes(a *app, c contactChoice, act func(p register.Person) (changed bool, result string, err error)) error {
	people, err := c.people(d.cfg)
	if err != nil {
		return err
	}
	rows := make([]contactChange, 0, len(people))
	for _, p := range people {
		row := contactChange{Person: p.Masked(), Lane: c.Lane}
		if row.Changed, row.Result, err = act(p); err != nil {
			break // the others would fail as well
		}
		rows = append(rows, row)
	}
	return errors.Join(a.print(rows, func(w io.Writer) {
		for _, r := range rows {
			fmt.Fprintln(w, r.Person, r.Result)
		}
	}), err)
}

// contactBlockCmd is weir contact block.
type contactBlockCmd struct {
	contactChoice
	Source string `placeholder:"TEXT" help:"Where the wish was told, such as call, mail or list."`
	decision
}

// Run blocks people.
func (c *contactBlockCmd) Run(a *app) error {
	by, err := c.signed(a)
	if err != nil {
		return err
	}
	act := register.Act{By: by.By, Reason: by.Reason, Source: c.Source, At: time.Now()}
	return a.atList(c.Lane, func(d *listed) error {
		return d.changes(a, c.contactChoice, func(p register.Person) (bool, string, error) {
			return c.block(a.ctx, d.register, p, act)
		})
	})
}

// contactAllowCmd is weir contact allow.
type contactAllowCmd struct {
	contactChoice
	decision
}

// Run allows people again.
func (c *contactAllowCmd) Run(a *app) error {
	by, err := c.signed(a)
	if err != nil {
		return err
	}
	act := register.Act{By: by.By, Reason: by.Reason, At: time.Now()}
	return a.atList(c.Lane, func(d *listed) error {
		return d.changes(a, c.contactChoice, func(p register.Person) (bool, string, error) {
			return c.allow(a.ctx, d.register, p, act)
		})
	})
}

// block forbids to contact a person, and says what became of that.
func (c contactWhere) block(ctx context.Context, r *register.Register, p register.Person, by register.Act) (changed bool, result string, err error) {
	changed, err = r.Block(ctx, p, c.Lane, by)
	if changed {
		return true, "is blocked " + c.where(), err
	}
	return false, "was blocked " + c.where() + " already", err
}

// allow takes a person's block back, and says what is left.
func (c contactWhere) allow(ctx context.Context, r *register.Register, p register.Person, by register.Act) (changed bool, result string, err error) {
	left, changed, err := r.Allow(ctx, p, c.Lane, by)
	return changed, allowed(left, changed, c), err
}

// allowed says what is left of a person's blocks.
func allowed(left register.Block, changed bool, c contactWhere) string {
	text := "was not blocked " + c.where()
	if changed {
		text = "is not blocked any more " + c.where()
	}
	if where := blockedWhere(left); where != "-" {
		text += ", but is still blocked: " + where
	}
	return text
}

// blockedWhere names the lanes that must not contact a person.
func blockedWhere(b register.Block) string {
	if b.Everywhere != nil {
		return "all lanes"
	}
	return or(strings.Join(b.LaneNames(), ", "))
}

// blockRow is one block in a list.
type blockRow struct {
	Person string    `json:"person,omitzero"` // masked, unless it is to be revealed; nothing where there is a key
	Hash   string    `json:"hash"`
	Where  string    `json:"where"`
	Since  time.Time `json:"since,omitzero"`
	By     string    `json:"by,omitzero"`
	Source string    `json:"source,omitzero"`
	Reason string    `json:"reason,omitzero"`
}

// blockRows are the lines of a block: one for all lanes, and one a lane.
func blockRows(b register.Block, lane string, reveal bool) (all []blockRow) {
	mask := schema.Mask
	if reveal {
		mask = func(s string) string { return s }
	}
	add := func(where string, act register.Act) {
		all = append(all, blockRow{
			Person: mask(string(b.Person)), Hash: b.Hash, Where: where,
			Since: act.At, By: mask(act.By), Source: mask(act.Source), Reason: mask(act.Reason),
		})
	}
	if b.Everywhere != nil {
		add("all lanes", *b.Everywhere)
	}
	for _, name := range b.LaneNames() {
		if lane == "" || lane == name {
			add(name, b.Lanes[name])
		}
	}
	return all
}

// contactListCmd is weir contact list.
type contactListCmd struct {
	Lane   string `placeholder:"NAME" help:"What holds in this lane; default: everything."`
	Reveal bool   `help:"Show the people as they are."`
}

// Run lists the blocks.
func (c *contactListCmd) Run(a *app) error {
	return a.atList(c.Lane, func(d *listed) error {
		found := []blockRow{}
		var strange []error
		err := d.register.Blocks(a.ctx, func(b register.Block, err error) error {
			if err != nil {
				strange = append(strange, err)
			}
			found = append(found, blockRows(b, c.Lane, c.Reveal)...)
			return nil
		})
		if err != nil {
			return err
		}
		return errors.Join(a.printCut(found, func(w io.Writer) { drawBlocks(w, found) }), errors.Join(strange...))
	})
}

func drawBlocks(w io.Writer, found []blockRow) {
	if len(found) == 0 {
		fmt.Fprintln(w, "Nobody is blocked.")
		return
	}
	fmt.Fprintln(w, "PERSON\tHASH\tWHERE\tSINCE\tBY\tSOURCE\tREASON")
	for _, r := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", or(r.Person), short(r.Hash), r.Where, when(r.Since), or(r.By), or(r.Source), or(r.Reason))
	}
}

// contactShowCmd is weir contact show.
type contactShowCmd struct {
	Person string `arg:"" help:"A number such as +14155550123, or an e-mail address."`
	Region string `placeholder:"CODE" help:"Of a number without a country, such as DE."`
}

// contactShown is what is known of a person.
type contactShown struct {
	Person  string        `json:"person"` // masked
	Blocked bool          `json:"blocked"`
	Blocks  []blockRow    `json:"blocks,omitempty"`
	Allowed *register.Act `json:"allowed,omitempty"` // who took the last block back
}

// Run shows a person.
func (c *contactShowCmd) Run(a *app) error {
	choice := contactChoice{People: []string{c.Person}, contactWhere: contactWhere{Region: c.Region}}
	return a.atList("", func(d *listed) error {
		people, err := choice.people(d.cfg)
		if err != nil {
			return err
		}
		b, err := d.register.Show(a.ctx, people[0])
		if err != nil {
			return err
		}
		shown := contactShown{Person: people[0].Masked(), Blocks: blockRows(b, "", false), Allowed: b.Allowed}
		shown.Blocked = len(shown.Blocks) > 0
		return a.print(shown, func(w io.Writer) {
			if shown.Blocked {
				drawBlocks(w, shown.Blocks)
				return
			}
			fmt.Fprintln(w, shown.Person, "is not blocked")
			if act := shown.Allowed; act != nil {
				fmt.Fprintf(w, "allowed again on %s by %s: %s\n", when(act.At), or(schema.Mask(act.By)), or(schema.Mask(act.Reason)))
			}
		})
	})
}
