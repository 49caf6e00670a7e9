package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// Config is a checked weir.yaml with all defaults filled in.
type Config struct {
	// Broker is the NATS server to use; nil: the embedded one.
	Broker *Broker
	// Embedded is the broker inside the process; nil: Broker is given.
	Embedded *Embedded
	Admin    Admin
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
	// Replicas is the number of copies of each stream, 1 to 5; default 1.
	Replicas int `yaml:"replicas"`
	// AckWait is how long the broker waits for a sign of life from a delivery
	// before it delivers again, 1s to 30m; default 60s.
	AckWait time.Duration `yaml:"ack_wait"`
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

// Admin is the listener for health and metrics.
type Admin struct {
	// Listen is a loopback address; empty: no listener.
	Listen string `yaml:"listen"`
}

// brokerBlock is broker as the file has it.
type brokerBlock struct {
	Broker `yaml:",inline"`
	// URL is short for URLs with one member.
	URL string `yaml:"url"`
}

func (b *brokerBlock) defaults() {
	b.Replicas = 1
	b.AckWait = time.Minute
}

func (e *Embedded) defaults() {
	e.Dir = "weir-data"
	e.Listen = "127.0.0.1:0"
}
