package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/weirhq/weir/internal/broker"
)

func TestControl(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	owner, cli := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	if _, err := cli.Control(t.Context(), lane, nil); !errors.Is(err, broker.ErrNoOwner) {
		t.Fatalf("control without an owner: got %v, want ErrNoOwner", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := owner.ServeControl(ctx, lane, func(ctx context.Context, request []byte) []byte {
		if err := ctx.Err(); err != nil {
			return []byte(err.Error())
		}
		return append([]byte("did "), request...)
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the owner answers", func() bool {
		_, err := cli.Control(t.Context(), lane, []byte("x"))
		return err == nil
	})
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			got, err := cli.Control(t.Context(), lane, fmt.Append(nil, n))
			if want := fmt.Sprint("did ", n); err != nil || string(got) != want {
				t.Errorf("control: got %q, %v; want %q", got, err, want)
			}
		})
	}
	wg.Wait()
	if _, err := cli.Control(t.Context(), "other", nil); !errors.Is(err, broker.ErrNoOwner) {
		t.Errorf("control of another lane: got %v, want ErrNoOwner", err)
	}
	cancel()
	wait()
	until(t, "the owner is gone", func() bool {
		_, err := cli.Control(t.Context(), lane, nil)
		return errors.Is(err, broker.ErrNoOwner)
	})
}
