package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// What a lane does with an event in doubt.
const (
	// Park keeps it for a person.
	Park = "park"
	// Resend looks it up and sends it again with the same id.
	Resend = "resend"
)

// Lane is one queue of events bound for an account.
type Lane struct {
	// Name is the lane's identity for ever: one to 32 of a-z, 0-9 and hyphen.
	Name string `yaml:"name"`
	// Label is shown to people and may change, at most 80 bytes; default Name.
	Label string `yaml:"label"`
	// Weight is the lane's share of a named account, 1 to 100; default 1.
	Weight int `yaml:"weight"`
	// Batch is how many conversations one request asks for at most: 1 to 100 at
	// Oration, default 20; always 1 at Anyreach.
	Batch int `yaml:"batch"`
	// DoubtLimit is how many doubts within ten minutes are borne before the
	// lane pauses, at most 10000; default 5; 0: any number.
	DoubtLimit int `yaml:"doubt_limit"`
	// MaxEvent is the largest event taken, 1KiB to 8MiB; default 256KiB.
	MaxEvent Size `yaml:"max_event"`
	// Doubt is Park or, only where the provider takes an id of ours, Resend,
	// which then is the default.
	Doubt string `yaml:"doubt"`
	// Attempts is how many requests of one event may end in doubt before a
	// person is asked, 1 to 100; default 5. It has a meaning with Resend alone.
	Attempts int `yaml:"attempts"`
	// ExpireAfter is how long after it was published, or after its notbefore, an event
	// may be sent: 1m to 8760h, default 72h; 0s: for ever.
	ExpireAfter time.Duration `yaml:"expire_after"`
	// JoinToken delivers the join token of a webrtc conversation in its outcome;
	// default false. Anyreach only.
	JoinToken bool `yaml:"join_token"`
	// Send says whether conversations are asked for; default true. False is a dry
	// run: all but that is done.
	Send bool `yaml:"send"`
	// Webhook is where the provider tells of conversations; without a secret
	// nowhere.
	Webhook Webhook `yaml:"webhook"`
	// CRM is where a CRM tells of leads; nil: nowhere.
	CRM *CRM `yaml:"crm"`
	// Contact is who is contacted, and when; nil: whoever has a number or address,
	// at any time.
	Contact *Contact `yaml:"contact"`
	// AllowIgnoreDND lets a route pass ignoreDND through, with which a publisher
	// reaches people who do not want to be called; default false. Oration only.
	AllowIgnoreDND bool `yaml:"allow_ignore_dnd"`
	// Outcomes is where the lane's outcomes go besides the broker; nil: nowhere.
	Outcomes *Outcomes `yaml:"outcomes"`
	// Sources are the routes as the file has them.
	Sources []schema.RouteSource `yaml:"-"`
	// Routes are compiled from the block's routes; the first match wins.
	Routes *schema.Routes `yaml:"-"`
	// Channels are those that the routes can ask for, sorted. Nil: it cannot be
	// told before there is an event, or the provider has none.
	Channels []string `yaml:"-"`
}

// Webhook is the address of a lane's webhooks,
// /hooks/provider/<lane>/<secret>, at the gateway.
type Webhook struct {
	// Secret is 16 to 128 letters, digits, hyphens, underscores, dots and tildes.
	Secret schema.Secret `yaml:"secret"`
}

// laneBlock is a lane as the file has it: with the name of an account, or with
// an account's settings.
type laneBlock struct {
	Lane     `yaml:",inline"`
	Account  string `yaml:"account"`
	Settings `yaml:",inline"`
	Rules    []routeBlock `yaml:"routes"`
}

// routeBlock is a route as the file has it.
type routeBlock struct {
	Type        string         `yaml:"type"`
	When        string         `yaml:"when"`
	Request     map[string]any `yaml:"request"`
	Passthrough []string       `yaml:"passthrough"`
}

// defaults are those that do not depend on the provider.
func (l *laneBlock) defaults() {
	l.Weight = 1
	l.DoubtLimit = 5
	l.MaxEvent = 256 * KiB
	l.Attempts = 5
	l.ExpireAfter = 72 * time.Hour
	l.Send = true
	l.Settings.defaults()
}
