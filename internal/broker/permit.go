package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// who is what the broker says of the user of a connection.
type who struct {
	User        string `json:"user"`
	Account     string `json:"account"`
	Permissions *struct {
		Publish   *permission     `json:"publish"`
		Subscribe *permission     `json:"subscribe"`
		Responses json.RawMessage `json:"responses"`
	} `json:"permissions"`
}

// permission is what one may do with subjects: what Allow matches, or everything where
// it is empty, but for what Deny matches.
type permission struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// may reports whether every subject of a pattern is allowed. nil allows everything.
func (p *permission) may(pattern string) bool {
	if p == nil {
		return true
	}
	in := func(s string) bool { return covers(withoutQueue(s), pattern) }
	across := func(s string) bool { return overlaps(withoutQueue(s), pattern) }
	return (len(p.Allow) == 0 || slices.ContainsFunc(p.Allow, in)) && !slices.ContainsFunc(p.Deny, across)
}

// touches reports whether any subject of a pattern is among those that are allowed.
func (p *permission) touches(pattern string) bool {
	return p == nil || len(p.Allow) == 0 || slices.ContainsFunc(p.Allow, func(s string) bool { return overlaps(withoutQueue(s), pattern) })
}

// beyond returns what is allowed and not needed.
func (p *permission) beyond(needs []string) (more []string) {
	if p == nil || len(p.Allow) == 0 {
		return []string{">"}
	}
	for _, s := range p.Allow {
		if !slices.ContainsFunc(needs, func(need string) bool { return covers(need, withoutQueue(s)) }) {
			more = append(more, s)
		}
	}
	return more
}

// withoutQueue takes the queue off a subscription's subject.
func withoutQueue(s string) string {
	s, _, _ = strings.Cut(s, " ")
	return s
}

// covers reports whether every subject that inner matches is matched by outer.
func covers(outer, inner string) bool {
	o, in := strings.Split(outer, "."), strings.Split(inner, ".")
	for i, token := range o {
		switch {
		case i == len(in):
			return false
		case token == ">":
			return true
		case in[i] == ">", token != "*" && token != in[i]:
			return false
		}
	}
	return len(o) == len(in)
}

// overlaps reports whether there is a subject that both match.
func overlaps(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		switch {
		case x[i] == ">" || y[i] == ">":
			return true
		case x[i] != "*" && y[i] != "*" && x[i] != y[i]:
			return false
		}
	}
	return len(x) == len(y)
}

// rightsShown is how many subjects a line names.
const rightsShown = 8

// JudgeRights says what the user of this connection may not do although weir serve
// does it, and what it may do beyond that. What others may do nobody is told.
func (b *Broker) JudgeRights(ctx context.Context) []Finding {
	var f findings
	me, err := b.whoami(ctx)
	if err != nil {
		f.warn("rights", "give this user the right to publish to $SYS.REQ.USER.INFO", "which rights this user has is not told: %v", err)
		return f
	}
	if me.Permissions == nil {
		f.warn("rights", "give it the rights in deploy/nats/accounts.conf alone, and each publisher an account of its own",
			"user %s may do everything in the account %s: whoever has its password can delete the ledger", cmp.Or(me.User, "(without a name)"), me.Account)
		return f
	}
	serve, operate := b.needed(ServeRights()), b.needed(OperatorRights())
	missing := me.missing(serve)
	switch {
	case len(missing) == 0:
		if me.Permissions.Responses == nil && !me.Permissions.Publish.may(b.inboxes()) {
			missing = append(missing, "allow_responses")
		}
	case len(me.missing(operate)) == 0 && !me.Permissions.Publish.touches("$KV.WEIR_LEDGER.>"): // which no operator writes
		f.warn("rights", "", "user %s may run every command but weir serve, backup and restore", me.User)
		serve = operate
		missing = nil
	}
	for _, right := range missing {
		f.problem("rights", "give this user that right: deploy/nats/accounts.conf has them all", "user %s may not %s", me.User, right)
	}
	more := me.Permissions.Publish.beyond(serve.Publish)
	for _, s := range me.Permissions.Subscribe.beyond(serve.Subscribe) {
		more = append(more, "subscribe to "+s)
	}
	slices.Sort(more)
	switch {
	case len(more) > rightsShown:
		f.warn("rights", "take them away, unless you know what for", "user %s may do what is not needed: %s and %d others", me.User, strings.Join(more[:rightsShown], ", "), len(more)-rightsShown)
	case len(more) > 0:
		f.warn("rights", "take them away, unless you know what for", "user %s may do what is not needed: %s", me.User, strings.Join(more, ", "))
	case len(missing) == 0 && len(f) == 0:
		f.ok("rights", "user %s may do what weir serve does, and no more", me.User)
	}
	return f
}

// missing returns what a user may not do of what is needed.
func (me who) missing(r Rights) (all []string) {
	for _, s := range r.Publish {
		if !me.Permissions.Publish.may(s) {
			all = append(all, "publish to "+s)
		}
	}
	for _, s := range r.Subscribe {
		if !me.Permissions.Subscribe.may(s) {
			all = append(all, "subscribe to "+s)
		}
	}
	return all
}

// inboxes are the subjects of the answers that this connection gets.
func (b *Broker) inboxes() string { return cmp.Or(b.cfg.Inbox, "_INBOX") + ".>" }

// needed are rights as this connection needs them: with its inboxes, its domain, and
// without the stream that it does not have.
func (b *Broker) needed(r Rights) Rights {
	each := func(all []string) (out []string) {
		for _, s := range all {
			switch {
			case b.cfg.Room.Undelivered == 0 && strings.Contains(strings.ToUpper(s), "UNDELIVERED"):
				continue
			case strings.HasPrefix(s, "_INBOX"):
				s = b.inboxes()
			case b.cfg.Domain != "" && strings.HasPrefix(s, "$JS.API."):
				s = "$JS." + b.cfg.Domain + "." + strings.TrimPrefix(s, "$JS.")
			case b.cfg.Domain != "" && strings.HasPrefix(s, "$JS.ACK."):
				continue // there is a word for the domain in it, and one for the account
			case strings.HasPrefix(s, "$KV."):
				s = b.written(s)
			}
			out = append(out, s)
		}
		return out
	}
	return Rights{Publish: each(r.Publish), Subscribe: each(r.Subscribe)}
}

// whoami asks what every user may ask about himself.
func (b *Broker) whoami(ctx context.Context) (me who, err error) {
	err = once(ctx, func(ctx context.Context) error {
		m, err := b.nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
		if err != nil {
			return err
		}
		var reply struct {
			Data *who `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &reply); err != nil {
			return err
		}
		if reply.Data == nil {
			return fmt.Errorf("the answer says nothing of the user")
		}
		me = *reply.Data
		return nil
	})
	return me, err
}

// soon is how long before its end a certificate is worth a line.
const soon = 30 * 24 * time.Hour

// JudgeTLS says whether others can read along on this connection, and until when the
// server's certificate holds.
func (b *Broker) JudgeTLS(now time.Time) Finding {
	host := ""
	if u, err := url.Parse(b.nc.ConnectedUrl()); err == nil {
		host = u.Hostname()
	}
	state, err := b.nc.TLSConnectionState()
	if err != nil {
		return JudgeConnection(host, nil, now)
	}
	return JudgeConnection(host, &state, now)
}

// JudgeConnection is JudgeTLS of a connection to a host; state is nil without TLS.
func JudgeConnection(host string, state *tls.ConnectionState, now time.Time) Finding {
	var f findings
	switch {
	case state == nil && isLoopback(host):
		f.ok("tls", "not encrypted, on this machine alone")
	case state == nil || len(state.PeerCertificates) == 0:
		f.warn("tls", "give the server a tls block, and broker.tls.ca its authority", "the connection is not encrypted: others on its way can read the password and the events")
	default:
		until := state.PeerCertificates[0].NotAfter
		if until.Sub(now) < soon {
			f.warn("tls", "give the server a new one in time", "the certificate of %s ends on %s", host, until.Format(time.DateOnly))
			break
		}
		f.ok("tls", "%s, and the certificate of %s holds until %s", tls.VersionName(state.Version), host, until.Format(time.DateOnly))
	}
	return f[0]
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
