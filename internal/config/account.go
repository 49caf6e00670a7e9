package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// The values of agent_number.
const (
	numberRequired = "required"
	numberAny      = "any"
)

// Account is one workspace or organization at a provider: its credential and
// its limit.
type Account struct {
	// Name is one to 32 of a-z, 0-9 and hyphen; that of the lane if the lane
	// carries the settings.
	Name     string `yaml:"name"`
	Settings `yaml:",inline"`
	// Lanes share the account's limit by their weights.
	Lanes []Lane `yaml:"-"`
}

// Settings are an account's, wherever the block stands.
type Settings struct {
	// Provider is Oration or Anyreach.
	Provider string `yaml:"provider"`
	// URL is the API's base, https, or http on loopback; no slash at its end.
	URL  string `yaml:"url"`
	Auth Auth   `yaml:"auth"`
	// Limit is how many conversations may run at once, 1 to 10000; default 20
	// at Oration. At Anyreach, which counts each channel apart, it is that of
	// telephone; default 10.
	Limit int `yaml:"limit"`
	// Limits are those in force by channel, 1 to 10000 each, and Limit is always
	// among them. The key "" is every conversation, and the only one where the
	// provider counts them together. Else a channel without a limit holds no
	// slot. In the file only of a provider with channels: telephone, webrtc,
	// email and text at Anyreach.
	Limits map[string]int `yaml:"limits"`
	// LimitMax is how far the provider's headers may raise Limit, at most
	// 10000; default 0, not at all.
	LimitMax int `yaml:"limit_max"`
	// Reserve is how many slots of Limit are left to others; default 0.
	Reserve int `yaml:"reserve"`
	// AgentNumber says whether a telephone request must name the number that
	// the call is placed from: required, the default, or any. Anyreach only;
	// empty elsewhere.
	AgentNumber string `yaml:"agent_number"`
	// VisibleAfter is how long after its request a conversation may be unseen
	// by a look-up with our id, 100ms to 10m; default 30s. Zero where the
	// provider takes no id of ours.
	VisibleAfter time.Duration `yaml:"visible_after"`
	Pacing       Pacing        `yaml:"pacing"`
	// Timeout ends one create request, 1s to 2m; default 15s.
	Timeout time.Duration `yaml:"timeout"`
	// MaxCall is longer than any conversation lasts, 1s to 24h: then the slot
	// of one that was never seen to end is free. Default 1h.
	MaxCall time.Duration `yaml:"max_call"`
	// FullWhen are regular expressions, in any case, that know an item's error
	// as "no free slot"; default concurren, capacity, slot, limit, busy and
	// too many. Oration only; nil elsewhere.
	FullWhen []string `yaml:"full_when"`
	// RefusedStatuses are HTTP statuses for which the provider's operator
	// vouches that nothing was created; default none.
	RefusedStatuses []int   `yaml:"refused_statuses"`
	Headers         Headers `yaml:"headers"`
	Breaker         Breaker `yaml:"breaker"`
}

// Auth is at Oration either APIKey with WorkspaceID, or Bearer; at Anyreach
// Token, with Organization where the token is a person's.
type Auth struct {
	APIKey      schema.Secret `yaml:"api_key"`
	WorkspaceID schema.Secret `yaml:"workspace_id"`
	Bearer      schema.Secret `yaml:"bearer"`
	// PublicKey goes with either; default none.
	PublicKey schema.Secret `yaml:"public_key"`
	// Token is an organization's key, which begins with ak_, or a person's,
	// which begins with pat_ and is good for several organizations.
	Token        schema.Secret `yaml:"token"`
	Organization schema.Secret `yaml:"organization"`
}

// TakesID reports whether the provider takes an id of ours with a request, so
// that sending it again makes nothing new and a look-up tells what became of it.
func (s *Settings) TakesID() bool {
	p := providerOf(s.Provider)
	return p != nil && p.takesID
}

// LimitChannel returns the key of Limits that Limit, LimitMax and Reserve are
// for: empty where the provider counts all conversations together.
func (s *Settings) LimitChannel() string {
	if p := providerOf(s.Provider); p != nil {
		return p.limited
	}
	return ""
}

// AgentNumberAny reports whether a telephone request may leave out the number
// that the call is placed from: the provider then picks any of the
// organization's.
func (s *Settings) AgentNumberAny() bool { return s.AgentNumber == numberAny }

// Pacing says how eagerly a full account is probed for a free slot.
type Pacing struct {
	// Preset is frugal or tight; default frugal.
	Preset string `yaml:"preset"`
	// MeanCall is the expected mean length of a conversation, 100ms to 4h;
	// default 75s.
	MeanCall time.Duration `yaml:"mean_call"`
	// Probe is auto, get or post; default auto.
	Probe string `yaml:"probe"`
}

// The values of pacing.probe.
const (
	ProbeAuto = "auto"
	ProbeGet  = "get"
	ProbePost = "post"
)

// Epsilon is the share of idle slot time that the preset accepts.
func (p Pacing) Epsilon() float64 {
	if p.Preset == "tight" {
		return 0.01
	}
	return 0.025
}

// Headers name the provider's limit headers where they are not among the known
// families, or where those may count anything: named, they count conversations;
// default none.
type Headers struct {
	Limit     string `yaml:"limit"`
	Remaining string `yaml:"remaining"`
	Reset     string `yaml:"reset"`
}

// Breaker says when a failing provider is left alone.
type Breaker struct {
	// Failures in a row open it, 1 to 1000; default 5.
	Failures int `yaml:"failures"`
	// Open is how long it stays open before it tries again, 100ms to 1h;
	// default 15s.
	Open time.Duration `yaml:"open"`
}

// defaults are those that all providers share.
func (s *Settings) defaults() {
	s.Pacing = Pacing{Preset: "frugal", MeanCall: 75 * time.Second, Probe: ProbeAuto}
	s.Timeout = 15 * time.Second
	s.MaxCall = time.Hour
	s.Breaker = Breaker{Failures: 5, Open: 12 * time.Second}
}
