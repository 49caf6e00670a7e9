package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Codes of the broker for a reservation that does not fit.
const (
	noStorage   jetstream.ErrorCode = 10047
	noResources jetstream.ErrorCode = 10023
)

// explain says what an operator can do when a stream's room does not fit; more
// is how many bytes it reserves beyond what it had, negative if it has no room of
// its own.
func (b *Broker) explain(ctx context.Context, err error, more int64) error {
	e, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || e.ErrorCode != noStorage && e.ErrorCode != noResources {
		return err
	}
	return fmt.Errorf("%s: %w", b.shortage(ctx, max(0, more)), err)
}

// shortage compares what is needed with what the account may use. How much its
// server has left is not told to an account.
func (b *Broker) shortage(ctx context.Context, more int64) string {
	const advice = "free disk space on the broker's server, or raise its max_file_store"
	needed := "the broker's storage is used up"
	if more > 0 {
		needed = fmt.Sprintf("its room needs %d MiB, and the broker's server has less free", ceilMiB(more))
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	info, err := b.js.AccountInfo(ctx)
	if err != nil {
		return needed + ": " + advice
	}
	tier, ok := info.Tiers[fmt.Sprintf("R%d", b.cfg.Replicas)]
	if !ok { // one limit for all, against which each copy counts
		tier = info.Tier
		more *= int64(b.cfg.Replicas)
	}
	reserved := int64(min(tier.ReservedStore, 1<<62))
	if limit := tier.Limits.MaxStore; limit > 0 && limit-reserved < max(1, more) {
		return fmt.Sprintf("it needs %d MiB, and of the account's %d MiB %d are free: raise the account's storage limit", ceilMiB(more), limit>>20, max(0, limit-reserved)>>20)
	}
	return fmt.Sprintf("%s beside the %d MiB of this account's streams: %s", needed, ceilMiB(reserved), advice)
}

func ceilMiB(n int64) int64 { return (n + 1<<20 - 1) >> 20 }
