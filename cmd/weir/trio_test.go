package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema"
)

// trio is a cluster of three nats-servers of this process. While one is down, its
// ports may be another process's: name and token keep strangers apart.
type trio struct {
	opts    []server.Options
	servers []*server.Server // nil: down
	url     string
	token   schema.Secret
}

// newTrio finds places for three servers, and starts none.
func newTrio(t *testing.T) *trio {
	t.Helper()
	ports := openPorts(t, 6)
	name := rand.Text()
	c := &trio{servers: make([]*server.Server, 3), token: schema.Secret(name)}
	var routes []*url.URL
	var clients []string
	for i := range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", ports[i])})
		clients = append(clients, fmt.Sprint("nats://127.0.0.1:", ports[3+i]))
	}
	c.url = strings.Join(clients, ",")
	dir := t.TempDir()
	for i := range 3 {
		c.opts = append(c.opts, server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: ports[3+i], NoLog: true, NoSigs: true,
			Cluster:   server.ClusterOpts{Name: "weir", Host: "127.0.0.1", Port: ports[i]},
			Routes:    slices.Delete(slices.Clone(routes), i, i+1), // its own would count as one more server
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint("n", i)),
			JetStreamMaxStore: 16 << 30, JetStreamMaxMemory: 64 << 20,
		})
	}
	t.Cleanup(func() {
		for i := range 3 {
			c.stop(i)
		}
	})
	return c
}

// openPorts returns ports that nobody uses.
func openPorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		_, port, err := net.SplitHostPort(gatewayPort(t))
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, number)
	}
	return ports
}

// start starts a server.
func (c *trio) start(t *testing.T, i int) {
	t.Helper()
	opts := c.opts[i]
	s, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	c.servers[i] = s
	if !s.ReadyForConnections(patience) {
		t.Fatalf("server %d does not listen: somebody may have taken its port", i)
	}
}

// stop stops a server as a crash does, but that it closes its files.
func (c *trio) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

// leader is the server that leads a stream, once there is one.
func (c *trio) leader(t *testing.T, stream string) (at int) {
	t.Helper()
	await(t, patience, "a leader of "+stream, func() bool {
		for i, s := range c.servers {
			if s != nil && s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
				at = i
				return true
			}
		}
		return false
	})
	return at
}

// world is a provider and a weir.yaml for the cluster.
func (c *trio) world(t *testing.T) *killed {
	t.Helper()
	yaml := fmt.Sprintf("broker: {urls: [%s], token: {env: BROKER_TOKEN}, replicas: 3, ack_wait: 10s}\n", strings.ReplaceAll(c.url, ",", ", "))
	return newKilled(t, yaml, c.token.Reveal(), simulator.Faults{})
}

// connect connects to the cluster, which must have a leader by then.
func (c *trio) connect(t *testing.T) *broker.Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := broker.Connect(ctx, zerolog.Nop(), broker.Config{URL: c.url, Token: c.token, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// asks counts the create requests that the front has seen.
func asks(f *front) int { return len(f.all()) }

// TestFault19ServeOutlastsAClustersQuorum starts weir serve at one server of three,
// which can do nothing alone: it waits. So it does at two, which have no place for
// three copies. Then the third one comes, the lane works, and two of the three go
// away in the middle of it: nobody is called without them, and everybody once when
// they are back.
func TestFault19ServeOutlastsAClustersQuorum(t *testing.T) {
	t.Parallel()
	c := newTrio(t)
	k := c.world(t)
	f := newFront(t, k.sim, nil)
	c.start(t, 0)
	cmd := child(t, k.env, "serve", "-c", k.at(t, f, "front.yaml"))
	said := cmd.Stdout.(*syncBuffer)
	await(t, patience, "weir to say what it waits for", func() bool {
		return strings.Count(said.String(), "does not answer yet") > 1
	})
	c.start(t, 1)
	await(t, patience, "weir to say that it asks again", func() bool {
		return strings.Count(said.String(), "does not do what weir needs to start") > 1
	})
	c.start(t, 2)
	b := c.connect(t)
	k.awaitStreams(t, b)
	k.publish(t, b, 40)
	await(t, patience, "some calls", func() bool { return asks(f) > 4 })
	c.stop(1)
	c.stop(2)
	stand(t, 8*time.Second) // what was claimed before is sent
	before := asks(f)
	stand(t, 6*time.Second)
	if now := asks(f); now != before {
		t.Errorf("create requests without a quorum: got %d", now-before)
	}
	c.start(t, 1)
	c.start(t, 2)
	k.settle(t, b)
	k.check(t, b, nil)
}

// TestFault18LeadersGoAway stops the leader of the ledger, then that of the events,
// while calls are placed.
func TestFault18LeadersGoAway(t *testing.T) {
	t.Parallel()
	c := newTrio(t)
	k := c.world(t)
	for i := range 3 {
		c.start(t, i)
	}
	f := newFront(t, k.sim, nil)
	child(t, k.env, "serve", "-c", k.at(t, f, "front.yaml"))
	b := c.connect(t)
	k.awaitStreams(t, b)
	for _, stream := range []string{ledger.Stream, broker.StreamEvents} {
		before := asks(f)
		k.publish(t, b, 20)
		await(t, patience, "some calls", func() bool { return asks(f) > before+1 })
		at := c.leader(t, stream)
		c.stop(at)
		c.leader(t, ledger.Stream)
		c.leader(t, broker.StreamEvents)
		later := len(k.keys) // the others may all have been called by now
		k.publish(t, b, 10)
		await(t, patience, "calls under another leader", func() bool {
			return slices.ContainsFunc(f.all(), func(p post) bool { return slices.Contains(p.intents, k.keys[later]) })
		})
		c.start(t, at)
	}
	k.settle(t, b)
	k.check(t, b, nil)
}
