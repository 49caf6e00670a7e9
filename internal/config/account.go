package config

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// Oration is the one provider of this version.
const Oration = "oration"

// Account is one workspace at a provider: its credential and its limit.
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
	// Provider is Oration.
	Provider string `yaml:"provider"`
	// URL is the API's base, https, or http on loopback; no slash at its end.
	URL  string `yaml:"url"`
	Auth Auth   `yaml:"auth"`
	// Limit is how many conversations may run at once, 1 to 10000; default 20.
	Limit int `yaml:"limit"`
	// LimitMax is how far the provider's headers may raise Limit, at most
	// 10000; default 0, not at all.
	LimitMax int `yaml:"limit_max"`
	// Reserve is how many slots of Limit are left to others; default 0.
	Reserve int    `yaml:"reserve"`
	Pacing  Pacing `yaml:"pacing"`
	// Timeout ends one create request, 1s to 2m; default 15s.
	Timeout time.Duration `yaml:"timeout"`
	// MaxCall is longer than any conversation lasts, 1s to 24h: then the slot
	// of one that was never seen to end is free. Default 1h.
	MaxCall time.Duration `yaml:"max_call"`
	// FullWhen are regular expressions, in any case, that know an item's error
	// as "no free slot"; default concurren, capacity, slot, limit, busy and
	// too many.
	FullWhen []string `yaml:"full_when"`
	// RefusedStatuses are HTTP statuses for which the provider's operator
	// vouches that nothing was created; default none.
	RefusedStatuses []int   `yaml:"refused_statuses"`
	Headers         Headers `yaml:"headers"`
	Breaker         Breaker `yaml:"breaker"`
}

// Auth is either APIKey with WorkspaceID, or Bearer.
type Auth struct {
	APIKey      schema.Secret `yaml:"api_key"`
	WorkspaceID schema.Secret `yaml:"workspace_id"`
	Bearer      schema.Secret `yaml:"bearer"`
	// PublicKey goes with either; default none.
	PublicKey schema.Secret `yaml:"public_key"`
}

// Pacing says how eagerly a full account is probed for a free slot.
type Pacing struct {
	// Preset is frugal or tight; default frugal.
	Preset string `yaml:"preset"`
	// MeanCall is the expected mean length of a conversation, 100ms to 4h;
	// default 75s.
	MeanCall time.Duration `yaml:"mean_call"`
}

// Epsilon is the share of idle slot time that the preset accepts.
func (p Pacing) Epsilon() float64 {
	if p.Preset == "tight" {
		return 0.01
	}
	return 0.025
}

// Headers name the provider's limit headers where they are not among the known
// families; default none.
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

func (s *Settings) defaults() {
	s.Limit = 20
	s.Pacing = Pacing{Preset: "frugal", MeanCall: 75 * time.Second}
	s.Timeout = 15 * time.Second
	s.MaxCall = time.Hour
	s.FullWhen = []string{"concurren", "capacity", "slot", "limit", "busy", "too many"}
	s.Breaker = Breaker{Failures: 5, Open: 15 * time.Second}
}
