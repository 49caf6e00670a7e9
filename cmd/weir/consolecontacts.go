package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/schema"
)

// contactsDesk is what the console's page of contacts reads and does.
type contactsDesk struct {
	*pagesDesk
	register *register.Register
}

// Blocked implements console.Contacts.
func (d *contactsDesk) Blocked(ctx context.Context, lane string, from, most int) (console.BlockList, error) {
	within, done, err := d.looking(ctx)
	if err != nil {
		return console.BlockList{}, err
	}
	defer done()
	var out console.BlockList
	damaged := 0
	err = d.register.Blocks(within, func(b register.Block, err error) error {
		if err != nil {
			damaged++
			return nil //nolint:nilerr // it is counted
		}
		for _, r := range blocksForConsole(b, lane) {
			if out.Total++; out.Total > from && len(out.Blocks) < most {
				out.Blocks = append(out.Blocks, r)
			}
		}
		return nil
	})
	cut := ranOut(within, err) && out.Total > 0
	if err != nil && !cut {
		return out, forConsole(err)
	}
	out.Rest = unread(out.Total, damaged, cut, "The command line lists all.")
	return out, nil
}

// blocksForConsole are a person's blocks, masked.
func blocksForConsole(b register.Block, lane string) (all []console.Blocked) {
	for _, r := range blockRows(b, lane, false) {
		all = append(all, console.Blocked{Person: r.Person, Hash: short(r.Hash), Where: r.Where, Since: r.Since, By: r.By, Source: r.Source, Reason: r.Reason})
	}
	return all
}

// person reads one.
func (d *contactsDesk) person(text, lane string) (register.Person, error) {
	if lane != "" && d.checkLane(lane) != nil {
		return "", console.Invalid{Field: "lane", Text: "There is no lane of that name."}
	}
	p, err := register.ParsePerson(text, d.region(lane))
	if err != nil {
		return "", console.Invalid{Field: "person", Text: sentence(err.Error())}
	}
	return p, nil
}

// Person implements console.Contacts.
func (d *contactsDesk) Person(ctx context.Context, person, lane string) (console.Contact, error) {
	p, err := d.person(person, lane)
	if err != nil {
		return console.Contact{}, err
	}
	b, err := d.register.Show(ctx, p)
	if err != nil {
		return console.Contact{}, forConsole(err)
	}
	out := console.Contact{Person: p.Masked(), Blocks: blocksForConsole(b, lane)}
	if act := b.Allowed; act != nil && len(out.Blocks) == 0 {
		out.Told = "Allowed again on " + when(act.At) + " by " + or(schema.Mask(act.By)) + ": " + or(schema.Mask(act.Reason))
	}
	return out, nil
}

// changed is what became of one person.
func (d *contactsDesk) changed(ctx context.Context, person, lane string, do func(p register.Person, in contactWhere) (bool, string, error)) (console.Result, error) {
	p, err := d.person(person, lane)
	if err != nil {
		return console.Result{}, err
	}
	_, result, err := do(p, contactWhere{Lane: lane})
	if err != nil && ctx.Err() == nil && !broker.Away(err) && !errors.Is(err, context.DeadlineExceeded) {
		return console.Result{Text: "Nothing was changed: " + sentence(err.Error())}, nil
	}
	if err != nil {
		return console.Result{}, forConsole(err)
	}
	return console.Result{Done: true, Text: p.Masked() + " " + strings.TrimSuffix(result, ".") + "."}, nil
}

// Block implements console.Contacts.
func (d *contactsDesk) Block(ctx context.Context, person, lane, source string, a console.Act) (console.Result, error) {
	return d.changed(ctx, person, lane, func(p register.Person, in contactWhere) (bool, string, error) {
		return in.block(ctx, d.register, p, register.Act{By: a.By, Reason: a.Reason, Source: source, At: time.Now()})
	})
}

// Allow implements console.Contacts.
func (d *contactsDesk) Allow(ctx context.Context, person, lane string, a console.Act) (console.Result, error) {
	return d.changed(ctx, person, lane, func(p register.Person, in contactWhere) (bool, string, error) {
		return in.allow(ctx, d.register, p, register.Act{By: a.By, Reason: a.Reason, At: time.Now()})
	})
}
