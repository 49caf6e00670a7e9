package wire

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// errShut is a write that came after its request was given up.
var errShut = errors.New("the request was given up before its first byte")

// gate stands before the first byte of one create request. It is what decides
// whether the request was sent: exactly one of "written" and "never will be" is
// true once shut was called.
type gate struct {
	permit func() error

	mu      sync.Mutex
	written bool  // bytes were handed to the connection
	denied  error // nothing may be written any more
}

// pass is called before each write. The first asks for permission.
func (g *gate) pass() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.denied != nil || g.written {
		return g.denied
	}
	if g.permit != nil {
		if err := g.permit(); err != nil {
			g.denied = err
			return err
		}
	}
	g.written = true
	return nil
}

// shut closes the gate unless the first byte is through, and reports whether
// nothing was written and nothing ever will be.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.written && g.denied == nil {
		g.denied = errShut
	}
	return !g.written
}

// refusal returns the error of Permit, if that is what stopped the request.
func (g *gate) refusal() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(g.denied, errShut) {
		return nil
	}
	return g.denied
}

// gateConn is a connection that writes only through the gate of the request that
// has it. A connection that no request has writes nothing.
type gateConn struct {
	net.Conn

	gate atomic.Pointer[gate] // set when a request gets the connection, read by each write
}

// Write writes through the gate.
func (c *gateConn) Write(b []byte) (int, error) {
	g := c.gate.Load()
	if g == nil {
		return 0, errShut
	}
	if err := g.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
