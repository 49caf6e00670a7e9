package consumer

import "context"

// MayPost reports why the first byte of a lane's request may not be sent.
func (e *Engine) MayPost(lane string) error { return e.lanes[lane].mayPost(BootTime(), nil) }

// Ask sends a request of a lane, whatever was decided before.
func (e *Engine) Ask(ctx context.Context, lane string, b Batch) Answer {
	return e.lanes[lane].ask(ctx, b)
}
