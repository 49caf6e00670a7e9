package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/internal/broker"
)

// advised is an error with what to do next.
type advised struct {
	error

	next string
}

func (e advised) Error() string { return e.error.Error() + "; " + e.next }

func (e advised) Unwrap() error { return e.error }

// advise adds what to do next to an error that does not say so itself: one of the
// system's, of the broker's, or of the command line's parser.
func advise(err error) error {
	if _, ok := errors.AsType[advised](err); ok || err == nil {
		return err
	}
	if parse, ok := errors.AsType[*kong.ParseError](err); ok {
		words := "weir"
		if parse.Context != nil {
			for node := parse.Context.Selected(); node != nil && node.Type == kong.CommandNode; node = node.Parent {
				words = strings.Replace(words, "weir", "weir "+node.Name, 1)
			}
		}
		return usageError{advised{err, words + " --help says what it takes"}}
	}
	for _, a := range []struct {
		is   func(error) bool
		next string
	}{
		{away, "see that the broker runs, and that the broker block of the configuration names it; weir check looks at it"},
		{among(nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrPermissionViolation), "give credentials in the broker block that may do this"},
		{among(broker.ErrTooOld), "run nats-server 2.12 or newer"},
		{among(broker.ErrNoJetStream), "give the server a jetstream block, and the account its share of it"},
		{among(broker.ErrInUse), "end that one first, or give this one an embedded.dir of its own"},
		{among(syscall.EADDRINUSE), "end the other program that listens there, or give another address"},
		{among(fs.ErrNotExist), "give the path of one that is there"},
		{among(fs.ErrPermission), "give this user the right to it"},
		{among(syscall.EISDIR), "give a file, not a folder"},
		{among(syscall.ENOSPC), "make room on the disk"},
	} {
		if a.is(err) {
			return advised{err, a.next}
		}
	}
	return err
}

// away reports whether the broker does not answer, rather than somebody else.
func away(err error) bool {
	_, embedded := errors.AsType[notRunningError](err)
	return !embedded && !errors.Is(err, context.Canceled) && !errors.Is(err, broker.ErrNoOwner) && broker.Away(err)
}

func among(all ...error) func(error) bool {
	return func(err error) bool {
		for _, target := range all {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
}
