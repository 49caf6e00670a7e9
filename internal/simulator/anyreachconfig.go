package simulator

import (
	"cmp"
	"errors"
	"io"
	"math"
	"time"
)

// AnyreachConfig is what a simulated Anyreach is like. Zero fields get the
// defaults named.
type AnyreachConfig struct {
	Limit     int // telephone calls of the organization that may be under way; default 10
	Global    int // those of all the provider's customers; default 50
	Busy      int // those that other customers have under way, all the time
	TextLimit int // text sessions that may be open, 429 above; 0: no limit

	Scale      float64       // how many times faster conversations run, 0.001 to 1,000,000; default 1, real lengths
	Seed       uint64        // of faults and lengths
	RetryAfter time.Duration // on each 429, in whole seconds, rounded up; 0: absent; never scaled
	Latency    time.Duration // mean of each answer, half before it takes effect and half after; default 5 ms; never scaled

	Auth        AnyreachAuth
	Columns     string // that the credential may read: ColumnsFull (default) or ColumnsSafe
	Detail      string // of a 422: DetailText (default), DetailList or Mixed
	Accepted    string // body of a telephone call's 202: AcceptedWrapped (default), AcceptedBare, AcceptedEmpty or Mixed
	Replay      string // status of the answer to a known id: ReplayOK, ReplayOriginal or Mixed (default)
	Unpublished string // agents and versions that begin so have nothing published; default "unpublished"

	// VisibleAfter is how long a telephone call is hidden after it was made:
	// lookup and list know nothing of it, and its id is not yet honoured, so
	// that a second request makes a second call. 0: it is there at once; never
	// scaled.
	VisibleAfter time.Duration
	VisibleShare float64       // of the telephone calls that are hidden so; default 1
	TooMany      float64       // share of creates that are answered 429, nothing made, whatever is free
	Tick         time.Duration // resolution of the times in answers; default 1 s; never scaled

	Faults Faults    // Shuffle, DropResult and ItemError are about batches and never strike here
	Log    io.Writer // the proof log; nil: memory only
}

// The values of AnyreachConfig.Columns, Detail, Accepted and Replay.
const (
	ColumnsFull = "full"
	ColumnsSafe = "safe" // no transcript, summary, recording and metadata in any answer; 403 to a list by metadata

	DetailText = "text" // {"detail":"…"}
	DetailList = "list" // {"detail":[{"loc":…,"msg":…,"type":…}]}

	AcceptedWrapped = "wrapped" // {"conversation":{…}}
	AcceptedBare    = "bare"    // {…}
	AcceptedEmpty   = "empty"   // no byte

	ReplayOK       = "200"
	ReplayOriginal = "original" // 202 for a telephone call
)

// AnyreachAuth is which credentials Anyreach accepts. A token that begins with
// pat_ needs the organization beside it, in X-Anyreach-Org.
type AnyreachAuth struct {
	Token        string // Authorization: Bearer; empty: anything but nothing
	Organization string // empty: anything but nothing
}

// withDefaults returns the configuration with zero fields filled in.
func (c AnyreachConfig) withDefaults() AnyreachConfig {
	c.Limit = cmp.Or(c.Limit, 10)
	c.Global = cmp.Or(c.Global, 50)
	c.Columns = cmp.Or(c.Columns, ColumnsFull)
	c.Detail = cmp.Or(c.Detail, DetailText)
	c.Accepted = cmp.Or(c.Accepted, AcceptedWrapped)
	c.Replay = cmp.Or(c.Replay, Mixed)
	c.Unpublished = cmp.Or(c.Unpublished, "unpublished")
	c.VisibleShare = cmp.Or(c.VisibleShare, 1)
	c.Tick = cmp.Or(c.Tick, time.Second)
	return c
}

// manner returns what both providers have in common.
func (c AnyreachConfig) manner() manner {
	return manner{
		scale: c.Scale, seed: c.Seed, retryAfter: c.RetryAfter, latency: c.Latency, faults: c.Faults, log: c.Log,
	}.withDefaults()
}

// validate joins every problem of a configuration that has its defaults.
func (c AnyreachConfig) validate() error {
	var p problems
	p.add(c.Limit < 0, "limit: %d is negative", c.Limit)
	p.add(c.Global < 0, "global: %d is negative", c.Global)
	p.add(c.Busy < 0 || c.Busy > c.Global, "busy: %d is not between 0 and the global limit, %d", c.Busy, c.Global)
	p.add(c.TextLimit < 0, "text_limit: %d is negative", c.TextLimit)
	p.oneOf("columns", c.Columns, ColumnsFull, ColumnsSafe)
	p.oneOf("detail", c.Detail, DetailText, DetailList, Mixed)
	p.oneOf("accepted", c.Accepted, AcceptedWrapped, AcceptedBare, AcceptedEmpty, Mixed)
	p.oneOf("replay", c.Replay, ReplayOK, ReplayOriginal, Mixed)
	p.add(c.VisibleAfter < 0, "visible_after: %v is negative", c.VisibleAfter)
	p.add(!(c.VisibleShare >= 0 && c.VisibleShare <= 1), "visible_share: %v is not between 0 and 1", c.VisibleShare)
	p.add(!(c.TooMany >= 0 && c.TooMany <= 1), "too_many: %v is not between 0 and 1", c.TooMany)
	p.add(c.Tick < 0, "tick: %v is negative", c.Tick)
	return errors.Join(append(p, c.manner().validate())...)
}

// capacity returns how many telephone calls can be under way at once.
func (c AnyreachConfig) capacity() int {
	return min(c.Limit, c.Global-c.Busy)
}

// texts returns how many text sessions can be open at once.
func (c AnyreachConfig) texts() int {
	return cmp.Or(c.TextLimit, math.MaxInt)
}
