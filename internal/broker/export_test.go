package broker

// Sent is how many messages the connection has sent.
func (b *Broker) Sent() uint64 { return b.nc.Stats().OutMsgs }

// Reconnecting reports whether the connection is down.
func (b *Broker) Reconnecting() bool { return b.nc.IsReconnecting() }

// Subscriptions is how many of them the server knows, of all connections.
func (e *Embedded) Subscriptions() uint32 { return e.server.NumSubscriptions() }
