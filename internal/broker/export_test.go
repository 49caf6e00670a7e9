package broker

// Sent is how many messages the connection has sent.
func (b *Broker) Sent() uint64 { return b.nc.Stats().OutMsgs }
