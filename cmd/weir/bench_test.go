package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/simulator"
)

// BenchmarkEventToCall measures the whole way, from a backlog in the stream to
// conversations at a provider that has room for all of them: claims, outcomes
// and ends included, every write of the embedded broker synced to disk.
func BenchmarkEventToCall(b *testing.B) {
	for _, batch := range []int{1, 20} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchEventToCall(b, batch) })
	}
}

func benchEventToCall(b *testing.B, batch int) {
	sim, err := simulator.New(zerolog.Nop(), simulator.Config{Limit: 10_000, Scale: 100, Latency: time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- sim.Serve(ctx, ln) }()
	yaml := fmt.Sprintf(`
embedded: {dir: %q}
lanes:
  - name: bench
    provider: oration
    url: http://%s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: KEY}}
    limit: 10000
    batch: %d
    pacing: {mean_call: 700ms}
    routes:
      - type: lead.created
%s`, filepath.Join(b.TempDir(), "store"), ln.Addr(), batch, plantRoute)
	cfg, err := config.Parse("weir.yaml", []byte(yaml), func(string) string { return "k" })
	if err != nil {
		b.Fatal(err)
	}
	s, err := startService(ctx, zerolog.Nop(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/bench","type":"lead.created","datacontenttype":"application/json","data":{"id":%d,"phone":"+1415%07d"}}`, i, i, i)
		if _, err := s.broker.PublishEvent(ctx, "bench", nil, []byte(body), fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	go func() { ended <- s.run(ctx) }()
	for sim.Report().Conversations < b.N {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
	if err := s.close(); err != nil {
		b.Error(err)
	}
}
