package config

import (
	"slices"
	"strings"
	"time"
)

// The providers.
const (
	Oration  = "oration"
	Anyreach = "anyreach"
)

// provider is what sets one provider's part of the file apart from another's.
type provider struct {
	name  string
	space string // what its customers have there, and what its limit is for
	// credentials are the keys of auth that it knows; takes says which of them
	// make a whole, and checkAuth checks that at the path of auth.
	credentials []string
	takes       string
	checkAuth   func(d *decoder, path string, a Auth)
	// spaces tell its spaces apart: two blocks with one in common are twins.
	spaces func(a Auth) []string
	// spoken are what a conversation can be held on.
	spoken []string
	// channels are counted apart, and field of the request names one; none: all
	// conversations are counted together.
	channels []string
	field    string
	// limited is the channel that limit, limit_max and reserve are for, and
	// limit is its default.
	limited string
	limit   int
	// passes are the fields of its request that a publisher may give where a route
	// says so; of others notPassed may say why not.
	passes    []string
	notPassed map[string]string
	// takesID: a request that is sent again with our id makes nothing new, and
	// visibleAfter is the default of how long a look-up by it may find nothing.
	takesID      bool
	visibleAfter time.Duration
	batch        int      // items in a request, by default
	maxBatch     int      // and at most
	fullWhen     []string // the default
	agentNumber  string   // the default
	queues       bool     // it takes what passes its limit, and lets it wait
	// notSettings and notLane say of keys that it has no use for why not.
	notSettings map[string]string
	notLane     map[string]string
}

// providers is all that the package knows of each.
var providers = []*provider{
	{
		name: Oration, space: "workspace",
		credentials: []string{"api_key", "workspace_id", "bearer", "public_key"},
		takes:       "api_key with workspace_id, or bearer",
		checkAuth:   (*decoder).orationAuth, spaces: orationSpaces,
		spoken: []string{"chat", "web", "telephony"},
		limit:  20,
		passes: []string{
			"agentId", "conversationType", "customerId", "dynamicVariables", "fromPhoneNumber",
			"identifier", ignoreDND, "sipTrunkAddress", "telephonyType", "toPhoneNumber",
		},
		batch: 20, maxBatch: 100,
		fullWhen: []string{"concurren", "capacity", "slot", "limit", "busy", "too many"},
		notSettings: map[string]string{
			"limits":        "this provider counts all conversations together: use limit",
			"agent_number":  "has no meaning here: this provider asks for no number to call from",
			"visible_after": "has no meaning here: this provider takes no id of ours to look up",
		},
		notLane: map[string]string{"join_token": "has no meaning here: this provider has no channel webrtc"},
	},
	{
		name: Anyreach, space: "organization",
		credentials: []string{"token", "organization"},
		takes:       "token, with organization if it begins with pat_",
		checkAuth:   (*decoder).anyreachAuth, spaces: anyreachSpaces,
		spoken:   []string{"telephone", "webrtc", "email", "text"},
		channels: []string{"telephone", "webrtc", "email", "text"}, field: "channel",
		limited: "telephone", limit: 10, // as its documentation has it
		passes: []string{
			"agent_config", "agent_id", "agent_number", "agent_version_id", "channel", "custom_metadata",
			"from_address", "initial_context", "subject", "to_address", "user_id", "version",
		},
		notPassed: map[string]string{
			"id":              "cannot be passed through: Weir sets it, so that nobody is contacted twice",
			"organization":    "cannot be passed through: it is the account's",
			"organization_id": "cannot be passed through: it is the account's",
		},
		takesID: true, visibleAfter: 30 * time.Second,
		batch: 1, maxBatch: 1,
		agentNumber: numberRequired, queues: true,
		notLane: map[string]string{
			"webhook":          "is not supported by this provider: it sends no webhooks",
			"allow_ignore_dnd": "has no meaning here: this provider's requests have no ignoreDND",
		},
		notSettings: map[string]string{
			"full_when": "has no meaning here: this provider's errors are one a request, told by their status",
		},
	},
}

// unknownProvider stands for a provider whose name is wrong: it refuses nothing, so
// that the name is the only problem.
var unknownProvider = &provider{takesID: true, batch: 1, maxBatch: 100}

// providerOf returns what is known of a provider, and nil of none.
func providerOf(name string) *provider {
	for _, p := range providers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// Passes returns the fields of a provider's request that a passthrough may name,
// sorted.
func Passes(provider string) []string {
	if p := providerOf(provider); p != nil {
		return slices.Clone(p.passes)
	}
	return nil
}

// doubt is what becomes of an event in doubt by default.
func (p *provider) doubt() string {
	if p.takesID {
		return Resend
	}
	return Park
}

// orationSpaces has the workspace's id or, where there is none, the credential.
// The URL is left out: one service has many spellings of its host, and v1 and
// v2 serve the same workspaces.
func orationSpaces(a Auth) []string {
	switch {
	case a.WorkspaceID != "":
		return []string{"w " + strings.ToLower(a.WorkspaceID.Reveal())}
	case a.Bearer != "":
		return []string{"b " + a.Bearer.Reveal()}
	default:
		return nil
	}
}

// anyreachSpaces has the organization or, where there is none, the token; an
// organization's own key always, for one key never serves two of them.
func anyreachSpaces(a Auth) []string {
	var spaces []string
	if a.Organization != "" {
		spaces = append(spaces, "o "+a.Organization.Reveal())
	}
	token := a.Token.Reveal()
	if token != "" && (a.Organization == "" || strings.HasPrefix(token, "ak_")) {
		spaces = append(spaces, "t "+token)
	}
	return spaces
}
