package main

import (
	"context"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

// doubtsDesk is what the console's pages of doubts read and do.
type doubtsDesk struct{ *pagesDesk }

// Doubts implements console.Doubts.
func (d *doubtsDesk) Doubts(ctx context.Context, lane string, from, most int) (console.LetterList, error) {
	return d.lines(ctx, consumer.Doubt, lane, func(kept) bool { return true }, from, most)
}

// Doubt implements console.Doubts.
func (d *doubtsDesk) Doubt(ctx context.Context, lane, intent string) (console.Letter, error) {
	k, err := d.letter(ctx, consumer.Doubt, lane, intent)
	if err != nil {
		return console.Letter{}, err
	}
	return d.whole(ctx, k)
}

// Settle implements console.Doubts.
func (d *doubtsDesk) Settle(ctx context.Context, at console.Step, s console.Settlement, a console.Act) (console.Result, error) {
	k, err := d.letter(ctx, consumer.Doubt, at.Lane, at.Intent)
	if err != nil {
		return console.Result{}, err
	}
	if !k.stays() || k.now.N != at.N {
		return console.Result{}, overtaken(stateWords(k.now.State))
	}
	r, err := d.resolve(ctx, k, way(s), decided(a))
	switch {
	case broker.Away(err):
		return console.Result{}, forConsole(err)
	case err != nil:
		return console.Result{Text: "The doubt was not settled: " + sentence(err.Error())}, nil
	}
	text := "The doubt is settled: " + strings.TrimSuffix(clean(schema.Mask(r.Result)), ".") + "."
	if s.Retry {
		text = strings.TrimSpace(text + " " + d.absent(ctx, []string{at.Lane}))
	}
	return console.Result{Done: true, Text: text}, nil
}
