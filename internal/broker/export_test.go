package broker

import "time"

// TryFor changes how long one try of a call may take. It is called before all tests.
func TryFor(d time.Duration) { attempt = d }

// Sent is how many messages the connection has sent.
func (b *Broker) Sent() uint64 { return b.nc.Stats().OutMsgs }

// Tell sends an empty message to a subject.
func (b *Broker) Tell(subject string) error { return b.nc.Publish(subject, nil) }

// Flush waits until the server has what was sent.
func (b *Broker) Flush() error { return b.nc.Flush() }

// Reconnecting reports whether the connection is down.
func (b *Broker) Reconnecting() bool { return b.nc.IsReconnecting() }

// Subscriptions is how many of them the server knows, of all connections.
func (e *Embedded) Subscriptions() uint32 { return e.server.NumSubscriptions() }
