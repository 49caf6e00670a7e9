package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// How a broker writes to its disk.
const (
	SyncAlways     = "always"     // before it confirms, as Weir demands
	SyncBackground = "background" // now and then, the server's default: a power cut loses what it confirmed
)

// brokerStart is how long a broker may take to start.
const brokerStart = time.Minute

// ServeBroker runs a nats-server on a free port of loopback until ctx ends, with its
// store in dir, and tells its URL on ready when it can be used.
func ServeBroker(ctx context.Context, dir, sync string, ready io.Writer) error {
	s, err := server.NewServer(&server.Options{
		ServerName: "bench", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: sync == SyncAlways,
		JetStreamMaxStore: 16 << 30, JetStreamMaxMemory: 64 << 20, DisableJetStreamBanner: true,
	})
	if err != nil {
		return err
	}
	go s.Start()
	defer func() {
		s.Shutdown()
		s.WaitForShutdown()
	}()
	if !s.ReadyForConnections(brokerStart) {
		return fmt.Errorf("the broker is not ready after %v", brokerStart)
	}
	if !s.JetStreamEnabled() {
		return errors.New("the broker started without JetStream: is its folder writable?")
	}
	fmt.Fprintln(ready, s.ClientURL())
	<-ctx.Done()
	return nil
}
