package consumer

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/rs/zerolog"
)

// ReadHook lets a provider's client read a webhook, wherever the engine of its
// lane runs. A client that panics has read nothing. The errors are ErrNoWebhook
// and ErrUnreadable.
func ReadHook(lg zerolog.Logger, p Provider, body []byte, header map[string][]string) (reports []Report, err error) {
	l, ok := p.(Listener)
	if !ok {
		return nil, ErrNoWebhook
	}
	defer func() {
		if p := recover(); p != nil {
			lg.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("a webhook made the provider client panic")
			err = ErrUnreadable
		}
	}()
	reports, err = l.Hook(body, header)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return reports[:min(len(reports), mostReports)], nil
}

// Hear is Hook for a webhook that was read already.
func (e *Engine) Hear(ctx context.Context, name string, reports []Report) error {
	ln := e.lanes[name]
	if ln == nil {
		return ErrNoWebhook
	}
	ln.count(func(c *HookCounts) { c.Received += uint64(len(reports)) })
	rumours := make([]*rumour, len(reports))
	for i, r := range reports {
		rumours[i] = ln.hear(r) //nolint:contextcheck // it lives as long as Run
	}
	var err error
	for _, u := range rumours {
		err = worse(err, u.await(ctx))
	}
	return err
}
