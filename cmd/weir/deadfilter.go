package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
)

// letterFilter chooses dead letters: those for which all that is given holds.
type letterFilter struct {
	Intents []string `arg:"" optional:"" name:"intent" help:"Intents' keys, the first characters of them, or events' ids."`
	Lane    string   `placeholder:"NAME" help:"Of this lane only."`
	Class   []string `placeholder:"CLASS" help:"Of these classes only, such as request,rejected."`
	Type    string   `placeholder:"TYPE" help:"Of events of this type; a * at the end stands for any text."`
	Source  string   `placeholder:"SOURCE" help:"Of events from this source."`
	ID      string   `name:"id" placeholder:"ID" help:"Of events with exactly this id."`
	Since   string   `placeholder:"TIME" help:"Dead since then or later: 2026-01-31T15:04:05Z, or an age such as 2h or 7d."`
	Until   string   `placeholder:"TIME" help:"Dead before then, or for longer than that age."`
	Text    string   `placeholder:"TEXT" help:"With this text in the reason or in the event, in capitals or not."`
}

// empty reports whether nothing was given.
func (f letterFilter) empty() bool { return len(f.Intents) == 0 && f.unnamed() }

// unnamed reports whether nothing but intents was given.
func (f letterFilter) unnamed() bool { return f.Lane == "" && f.loose() }

// loose reports whether nothing but intents and a lane was given.
func (f letterFilter) loose() bool {
	return len(f.Class) == 0 && f.Type == "" && f.Source == "" && f.ID == "" && f.Since == "" && f.Until == "" && f.Text == ""
}

// names reports whether a letter is one of the intents given, if any are.
func (f letterFilter) names(k kept) bool {
	return len(f.Intents) == 0 || slices.ContainsFunc(f.Intents, func(word string) bool { return named(k.Letter, word) })
}

// takes returns the filter as a function, which does not look at the intents'
// names. Its error is wrong use.
func (f letterFilter) takes(now time.Time) (func(kept) bool, error) {
	if i := strings.IndexByte(f.Type, '*'); i >= 0 && i < len(f.Type)-1 {
		return nil, usageError{fmt.Errorf("--type %s: the * must be the last character", f.Type)}
	}
	since, err := pointInTime("--since", f.Since, now)
	if err != nil {
		return nil, err
	}
	until, err := pointInTime("--until", f.Until, now)
	if err != nil {
		return nil, err
	}
	if !until.IsZero() && until.Before(since) {
		return nil, usageError{fmt.Errorf("--until (%s) is before --since (%s), so no letter can match", when(until), when(since))}
	}
	text := strings.ToLower(f.Text)
	return func(k kept) bool {
		r := k.row()
		switch {
		case f.Lane != "" && r.Lane != f.Lane:
		case len(f.Class) > 0 && !slices.Contains(f.Class, r.Class):
		case f.Type != "" && !likeType(f.Type, r.Type):
		case f.Source != "" && r.Source != f.Source:
		case f.ID != "" && r.ID != f.ID:
		case !since.IsZero() && r.Last.Before(since):
		case !until.IsZero() && !r.Last.Before(until):
		case text != "" && !k.holds(text):
		default:
			return true
		}
		return false
	}, nil
}

// likeType reports whether a type is meant by a pattern.
func likeType(pattern, typ string) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(typ, begin)
	}
	return typ == pattern
}

// class is the ledger's, or that of a letter whose event is not dead any more.
func (k kept) class() string {
	if k.stays() && k.now.Class != "" {
		return k.now.Class
	}
	return k.Class
}

// reason is the ledger's, which is not cut, or that of a letter whose event is
// not dead any more.
func (k kept) reason() string {
	if k.stays() && k.now.Reason != "" {
		return k.now.Reason
	}
	return k.Reason
}

// holds reports whether a text in small letters is in the reason or the event.
func (k kept) holds(text string) bool {
	return strings.Contains(strings.ToLower(k.reason()), text) || bytes.Contains(bytes.ToLower(k.Data), []byte(text))
}

// pointInTime reads a time or an age; nothing given is the zero time.
func pointInTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if age, ok := ageOf(text); ok {
		return now.Add(-age), nil
	}
	return time.Time{}, usageError{fmt.Errorf("%s %q: give a time such as %s, or an age such as 2h or 7d", flag, text, now.UTC().Format(time.RFC3339))}
}

// ageOf reads a duration, of which days are one too.
func ageOf(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	age, err := time.ParseDuration(text)
	return age, err == nil && age >= 0
}

// sift returns the letters that the filter takes, also those whose event is not
// dead any more, without their contents. Those that cannot be read do not keep
// the others.
func (d *desk) sift(ctx context.Context, lane string, take func(kept) bool, read func(n int)) (sifted []kept, unread error) {
	var errs []error
	n := 0
	for k, err := range d.letters(ctx, consumer.Dead, lane) {
		n++
		read(n)
		switch {
		case err != nil:
			errs = append(errs, err)
		case take(k):
			k.Data, k.now.History = nil, nil
			sifted = append(sifted, k)
		}
	}
	return sifted, errors.Join(errs...)
}

// choose returns the letters that are meant: each intent named, which the other
// filters must take, or without names all that they take.
func (d *desk) choose(ctx context.Context, f letterFilter, take func(kept) bool, read func(n int)) (chosen []kept, unread, err error) {
	if len(f.Intents) == 0 {
		chosen, unread = d.sift(ctx, f.Lane, take, read)
		return chosen, unread, nil
	}
	found, err := d.find(ctx, consumer.Dead, f.Lane, f.Intents)
	if err != nil {
		return nil, nil, err
	}
	seen := make(map[string]bool)
	for i, k := range found {
		if !take(k) {
			return nil, nil, fmt.Errorf("%q (%s %s) is not what the other filters ask for; leave them out", f.Intents[i], k.Lane, k.Intent)
		}
		if !seen[k.Intent] {
			seen[k.Intent] = true
			chosen = append(chosen, k)
		}
	}
	return chosen, nil, nil
}
