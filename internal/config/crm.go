package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// The kinds of CRM.
const (
	HubSpot    = "hubspot"
	Pipedrive  = "pipedrive"
	Salesforce = "salesforce"
	Generic    = "generic"
)

// CRM is the address of a lane's CRM, /hooks/crm/<lane>/<secret>, at the gateway.
type CRM struct {
	// Kind is HubSpot, Pipedrive, Salesforce or Generic.
	Kind string `yaml:"kind"`
	// Secret is 16 to 128 letters, digits, hyphens, underscores, dots and tildes.
	Secret schema.Secret `yaml:"secret"`
	// AppSecret is the client secret of HubSpot's app.
	AppSecret schema.Secret `yaml:"app_secret"`
	// User and Password are those of Pipedrive's webhook.
	User     string        `yaml:"user"`
	Password schema.Secret `yaml:"password"`
	// APIKey is what Salesforce, or any other, shows in Header; default X-Api-Key.
	APIKey schema.Secret `yaml:"api_key"`
	Header string        `yaml:"header"`
	// HMAC is the signature that is shown instead; nil: APIKey.
	HMAC *HMAC `yaml:"hmac"`
	// Map makes the id, source, type and data of an event; Generic only.
	Map map[string]any `yaml:"map"`
	// Mapping is compiled from Map.
	Mapping *schema.Routes `yaml:"-"`
}

func (c *CRM) defaults() { c.Header = "X-Api-Key" }

// HMAC is a signature in a header.
type HMAC struct {
	// Secret has 16 to 128 characters.
	Secret schema.Secret `yaml:"secret"`
	Header string        `yaml:"header"`
	// Algorithm is sha256, the default, or sha512.
	Algorithm string `yaml:"algorithm"`
	// Encoding is hex, the default, or base64.
	Encoding string `yaml:"encoding"`
	// Prefix stands before the signature, such as sha256=; default none.
	Prefix string `yaml:"prefix"`
	// Timestamp is the header that has the time; default none.
	Timestamp string `yaml:"timestamp"`
	// Tolerance is how far that time may be from now, 10s to 15m; default 5m.
	Tolerance time.Duration `yaml:"tolerance"`
	// Signed is the text that is signed; default {body}, or {timestamp}.{body}
	// where there is a Timestamp.
	Signed string `yaml:"signed"`
}

func (h *HMAC) defaults() {
	h.Algorithm, h.Encoding, h.Tolerance = "sha256", "hex", 5*time.Minute
}
