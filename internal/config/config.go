package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// Config is a checked weir.yaml with all defaults filled in.
type Config struct {
	// File is where it was read from.
	File string
	// Broker is the NATS server to use; nil: the embedded one.
	Broker *Broker
	// Embedded is the broker inside the process; nil: Broker is given.
	Embedded *Embedded
	// Gateway is the listener for events and webhooks; its Listen is empty if there is none.
	Gateway Gateway
	// Console is the listener for operators; its Listen is empty if there is none.
	Console Console
	Admin   Admin
	// Traces is where spans are sent; nil: nowhere.
	Traces *Traces
	Ledger Ledger
	// Events, Dead and Outcomes say how long what is done is kept.
	Events   Events
	Dead     Dead
	Outcomes ToldOutcomes
	Blocks   Blocks
	// Catalog holds the schemas of event data: the built-in ones and the file's own.
	Catalog *schema.Catalog
	// Accounts are those of the accounts list, then those that lanes carry in
	// their own block, in the file's order. Each has at least one lane.
	Accounts []Account
}

// Broker is a NATS server, or a cluster of them, that runs elsewhere.
type Broker struct {
	// URLs are the servers: nats, tls, ws or wss, without credentials. In the
	// file either one as url or several as urls.
	URLs []string `yaml:"urls"`
	// Creds is the path of a NATS credentials file.
	Creds string `yaml:"creds"`
	// NKey is the path of a file that holds an NKey seed.
	NKey string `yaml:"nkey"`
	// User and Password go together.
	User     string        `yaml:"user"`
	Password schema.Secret `yaml:"password"`
	// Token is the server's authorization token.
	Token schema.Secret `yaml:"token"`
	TLS   TLS           `yaml:"tls"`
	// Domain is the JetStream domain; default none.
	Domain string `yaml:"domain"`
	// Inbox is what the subjects of answers begin with, so that the broker can keep
	// each user's for himself; default _INBOX.
	Inbox string `yaml:"inbox"`
	// Replicas is the number of copies of each stream, 1 to 5; default 1.
	Replicas int `yaml:"replicas"`
	// AckWait is how long the broker waits for a sign of life from a delivery
	// before it delivers again, 1s to 30m; default 60s.
	AckWait time.Duration `yaml:"ack_wait"`
	// Monitors are the servers' monitoring addresses: https, or http on
	// loopback. In the file either one as monitor or several as monitors.
	Monitors []string `yaml:"monitors"`
	// System may ask the servers what a client is not told; default nobody.
	System System `yaml:"system"`
}

// System is a user of the system account: Creds, or User and Password.
type System struct {
	// Creds is the path of a NATS credentials file.
	Creds string `yaml:"creds"`
	// User and Password go together.
	User     string        `yaml:"user"`
	Password schema.Secret `yaml:"password"`
}

// TLS names the PEM files for the connection to the broker.
type TLS struct {
	// CA verifies the server; default the system's authorities.
	CA string `yaml:"ca"`
	// Cert and Key are the client's, and go together; default none.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Embedded is the NATS server that runs inside the process.
type Embedded struct {
	// Dir is the store's folder; default weir-data beside the file.
	Dir string `yaml:"dir"`
	// Listen is a loopback address; default 127.0.0.1:0, a free port that is
	// kept across restarts.
	Listen string `yaml:"listen"`
	// Token is what clients must show; empty: one is made and kept.
	Token schema.Secret `yaml:"token"`
}

// Gateway is the listener for what others send: events, and the webhooks of
// providers.
type Gateway struct {
	// Listen is an address with a port. One that others than this machine may
	// reach needs Token or Publishers, and TLS or BehindProxy.
	Listen string `yaml:"listen"`
	// Token lets a publisher feed every lane. Webhooks do without: each lane's
	// address has a secret of its own.
	Token Token `yaml:"token"`
	// Publishers feed some lanes, each with a token of its own.
	Publishers []Publisher `yaml:"publishers"`
	// PublicURL is the listener's address as others have it, without a slash at
	// its end; HubSpot signs it.
	PublicURL string `yaml:"public_url"`
	// BehindProxy says that TLS ends at a proxy before it; default false.
	BehindProxy bool        `yaml:"behind_proxy"`
	TLS         Certificate `yaml:"tls"`
}

// DefaultRate is how many events a publisher may send in a second by default.
const DefaultRate = 100

// Publisher is who may feed lanes over HTTP.
type Publisher struct {
	// Name is one to 32 of a-z, 0-9 and hyphen; the log has it.
	Name string `yaml:"name"`
	// Token has 16 to 128 characters.
	Token Token `yaml:"token"`
	// Lanes are those that it may feed and ask about, at least one.
	Lanes []string `yaml:"lanes"`
	// Rate is how many events it may send in a second, 1 to 10000; default
	// DefaultRate.
	Rate int `yaml:"rate"`
	// Origins are the systems, by DNS name, that are told without a token that
	// they may send here (the CloudEvents webhook handshake); default none.
	Origins []string `yaml:"origins"`
}

func (p *Publisher) defaults() { p.Rate = DefaultRate }

// Certificate names the PEM files of a listener; both or neither.
type Certificate struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Console is the listener for the pages of operators.
type Console struct {
	// Listen is an address with a port. One that others than this machine may
	// reach needs TLS or BehindProxy.
	Listen string `yaml:"listen"`
	// Token lets an operator in; it is required. It has 16 to 128 characters.
	Token Token `yaml:"token"`
	// BehindProxy says that TLS ends at a proxy before it; default false.
	BehindProxy bool        `yaml:"behind_proxy"`
	TLS         Certificate `yaml:"tls"`
}

// Admin is the listener for health and metrics.
type Admin struct {
	// Listen is a loopback address, or any if Open; empty: no listener.
	Listen string `yaml:"listen"`
	// Open says that others may reach it; default false. It asks for no token.
	Open bool `yaml:"open"`
}

// Ledger is what is remembered of events that are done.
type Ledger struct {
	// Keep is how long, 840h to 87600h; default 2160h (90 days). An event that is
	// as old and not known is not sent.
	Keep time.Duration `yaml:"keep"`
}

func (l *Ledger) defaults() { l.Keep = 90 * 24 * time.Hour }

// Blocks is how the list of those is kept who must not be contacted.
type Blocks struct {
	// Key hashes the people on it, 16 to 256 characters; default none: the broker's
	// users can read who is on it. It is never changed.
	Key schema.Secret `yaml:"key"`
}

// Schema is a JSON Schema of the user's own for the data of some events.
type Schema struct {
	// Type is a CloudEvents type, or a pattern in which * stands for any text. The
	// first that matches an event's type holds, besides the built-in one.
	Type string `yaml:"type"`
	// File is the schema's path, below the folder of weir.yaml.
	File string `yaml:"file"`
}

// brokerBlock is broker as the file has it.
type brokerBlock struct {
	Broker `yaml:",inline"`
	// URL is short for URLs with one member.
	URL string `yaml:"url"`
	// Monitor is short for Monitors with one member.
	Monitor string `yaml:"monitor"`
}

func (b *brokerBlock) defaults() {
	b.Replicas = 1
	b.AckWait = time.Minute
}

func (e *Embedded) defaults() {
	e.Dir = "weir-data"
	e.Listen = "127.0.0.1:0"
}
