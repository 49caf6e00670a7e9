package guard

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// sealName is the consumer that seals the ledger's stream. The broker keeps it in
	// memory alone, so it lasts as long as the broker has the stream open, and no
	// longer: not over a new start, nor where the stream is made anew or put back.
	sealName = "weir_seal"
	// sealKey is what the consumer would read: no entry has a key of one token.
	sealKey = "seal"
	// sealWait is how long the broker may take to answer for it.
	sealWait = 5 * time.Second
	// trusted is how long a start takes the ledger for whole because it was read in
	// full under the same seal: as long as a Guard that runs may be content with that.
	trusted = 24 * time.Hour
)

// seal says which seal the ledger was read in full under, and when. The zero value
// stands for none.
type seal struct {
	Created time.Time `json:"created"` // of the consumer, by the broker
	Read    time.Time `json:"read"`    // when the reading began, by the broker's clock
}

// equal reports whether s and t are the same reading, too.
func (s seal) equal(t seal) bool { return s.Created.Equal(t.Created) && s.Read.Equal(t.Read) }

// same reports whether s and t are of one opening of the stream.
func (s seal) same(t seal) bool { return !s.Created.IsZero() && s.Created.Equal(t.Created) }

// seal puts the seal on, if it is not, and returns it with the broker's time. It is
// zero where a consumer in memory says nothing: one that was assigned by a cluster
// outlives its server, and the embedded broker is new with each start. So it is where
// the broker does not let us.
func (g *Guard) seal(ctx context.Context) seal {
	if g.cfg.File != "" {
		return seal{}
	}
	ctx, cancel := context.WithTimeout(ctx, sealWait)
	defer cancel()
	s, err := g.b.JetStream().Stream(ctx, g.cfg.Ledger)
	if err != nil || clustered(s.CachedInfo()) {
		return seal{}
	}
	c, err := s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: sealName, Description: "Weir: while it is there, the ledger was not opened anew",
		FilterSubject: "$KV." + strings.TrimPrefix(g.cfg.Ledger, "KV_") + "." + sealKey, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		g.lg.Debug().Err(err).Msg("the ledger is not sealed: the next start reads all of it")
		return seal{}
	}
	return seal{Created: c.CachedInfo().Created, Read: c.CachedInfo().TimeStamp}
}

// clustered reports whether the stream is one of a cluster.
func clustered(info *jetstream.StreamInfo) bool {
	return info.Config.Replicas > 1 || info.Cluster != nil && (info.Cluster.Name != "" || len(info.Cluster.Replicas) > 0)
}

// trusts reports whether the ledger need not be read before anything is claimed:
// the broker has had it open since it was last read in full, which is not long ago,
// and knows of as much as ever. It has lost then what a Guard that ran all the
// while might not have seen either.
func (g *Guard) trusts(ctx context.Context, is survey, now seal) bool {
	if !sealed(g.old, g.cfg.Ledger, is, now) {
		return false
	}
	if is.last == 0 {
		return true
	}
	s, err := g.b.JetStream().Stream(ctx, g.cfg.Ledger)
	if err == nil {
		_, err = s.GetMsg(ctx, is.last) // what was written last is not what was read
	}
	return err == nil
}

// sealed is what trusts asks of the mark and the stream.
func sealed(m mark, ledger string, is survey, now seal) bool {
	was, age := m.Streams[ledger], now.Read.Sub(m.Seal.Read)
	return m.Seal.same(now) && !now.Read.IsZero() && age >= 0 && age < trusted &&
		was.Missing == 0 && was.Ends == 0 && !is.copies && is.entries == is.claimed
}

// settle notes under which seal everything was found to be there; any finding, also an
// accepted one, means that the next start reads in full.
func (g *Guard) settle(s seal, found []Finding) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(found) > 0 || g.missing > 0 || g.ends > 0 {
		s = seal{}
	}
	g.mark.Seal = s
}

// Unread reports whether Check found the ledger whole without reading all of it, and
// Scrub has not done so since.
func (g *Guard) Unread() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unread
}

// Reopened reports, once for each time, whether the broker has opened the ledger anew
// since it was last read: files that were damaged while it was down lose entries then.
// It cannot tell of a cluster.
func (g *Guard) Reopened(ctx context.Context) bool {
	s := g.seal(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	anew := !s.Created.IsZero() && !g.opened.Created.IsZero() && !s.same(g.opened)
	if !s.Created.IsZero() {
		g.opened = s
	}
	return anew
}
