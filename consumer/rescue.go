package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// A client that panics over an answer has learned nothing of it. It must not end
// the process: the account's next owner would get the same answer.

// conversation asks the provider for one conversation.
func (a *account) conversation(ctx context.Context, id string) (conv Conversation, err error) {
	defer a.rescue(&err)
	return a.cfg.Provider.Conversation(ctx, id)
}

// conversations asks a provider that has one for its list.
func (a *account) conversations(ctx context.Context, since time.Time) (list []Conversation, err error) {
	defer a.rescue(&err)
	return a.cfg.Provider.(Lister).Conversations(ctx, since)
}

func (a *account) rescue(err *error) {
	if p := recover(); p != nil {
		a.lg.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("the provider client panicked")
		*err = errors.New("a fault in Weir's client")
	}
}
