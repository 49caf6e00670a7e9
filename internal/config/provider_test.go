package config_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
)

// calls is a file with what must be in one for anyreach; tests replace parts of
// it.
const calls = `lanes:
  - name: initech
    provider: anyreach
    url: https://api.anyreach.example
    auth: {token: {env: PAT}, organization: {env: ORGANIZATION}}
    timeout: 15s
    routes:
      - type: lead.created
        request:
          channel: telephone
          user_id: ${ data.phone }
`

// houses is a file with an account of each provider that lanes share.
const houses = `accounts:
  - name: voice
    provider: oration
    url: https://voice.example/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
  - name: reach
    provider: anyreach
    url: https://api.anyreach.example
    auth: {token: {env: AK}}
    limits: {text: 200, telephone: 4}
lanes:
  - name: north
    account: voice
    routes: [{type: a, request: {channel: fax}}]
  - name: south
    account: reach
    routes: [{type: a, request: {channel: text}}, {type: b, request: {channel: email}}, {type: c, request: {channel: text}}]
  - name: west
    account: reach
    weight: 2
    doubt: park
    routes: [{type: a, request: {channel: text}}, {type: b, request: {channel: "${ data.channel }"}}]
`

func TestAnyreachFillsInDefaults(t *testing.T) {
	t.Parallel()
	want := []config.Account{{
		Name: "initech",
		Settings: config.Settings{
			Provider: config.Anyreach, URL: "https://api.anyreach.example",
			Auth:  config.Auth{Token: "pat_token-of-ana", Organization: "org_Initech"},
			Limit: 10, Limits: map[string]int{"telephone": 10},
			AgentNumber: "required", VisibleAfter: 30 * time.Second,
			Pacing:  config.Pacing{Preset: "frugal", MeanCall: 75 * time.Second, Probe: "auto"},
			Timeout: 15 * time.Second, MaxCall: time.Hour,
			Breaker: config.Breaker{Failures: 5, Open: 12 * time.Second},
		},
		Lanes: []config.Lane{{
			Name: "initech", Label: "initech", Weight: 1, Batch: 1, DoubtLimit: 5,
			MaxEvent: 256 * config.KiB, Doubt: config.Resend, Attempts: 5, ExpireAfter: 72 * time.Hour, Send: true, Channels: []string{"telephone"},
		}},
	}}
	if diff := cmp.Diff(want, parse(t, calls).Accounts, plain); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

func TestAnyreachReadsEveryKey(t *testing.T) {
	t.Parallel()
	got := parse(t, edit(t, calls, "    timeout: 15s\n", `    limits: {text: 200, telephone: 12, webrtc: 1, email: 10000}
    limit_max: 50
    reserve: 11
    agent_number: any
    visible_after: 1m
    batch: 1
    doubt: resend
    attempts: 100
    join_token: true
    refused_statuses: [503]
    headers: {limit: X-Lines}
`)).Accounts[0]
	want := config.Settings{
		Provider: config.Anyreach, URL: "https://api.anyreach.example",
		Auth:  config.Auth{Token: "pat_token-of-ana", Organization: "org_Initech"},
		Limit: 12, Limits: map[string]int{"text": 200, "telephone": 12, "webrtc": 1, "email": 10000}, LimitMax: 50, Reserve: 11,
		AgentNumber: "any", VisibleAfter: time.Minute,
		Pacing:  config.Pacing{Preset: "frugal", MeanCall: 75 * time.Second, Probe: "auto"},
		Timeout: 15 * time.Second, MaxCall: time.Hour, RefusedStatuses: []int{503},
		Headers: config.Headers{Limit: "X-Lines"}, Breaker: config.Breaker{Failures: 5, Open: 12 * time.Second},
	}
	if diff := cmp.Diff(want, got.Settings); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if l := got.Lanes[0]; l.Batch != 1 || l.Doubt != config.Resend || l.Attempts != 100 || !l.JoinToken {
		t.Errorf("lane: got %+v, want batch 1, resend, 100 attempts and the join token", l)
	}
}

// What the engine asks of an account, whichever the provider.
func TestSettingsSpeakForTheirProvider(t *testing.T) {
	t.Parallel()
	type answers struct {
		TakesID, AgentNumberAny bool
		LimitChannel            string
	}
	for _, tc := range []struct {
		settings config.Settings
		want     answers
	}{
		{config.Settings{Provider: config.Oration}, answers{}},
		{config.Settings{Provider: config.Anyreach, AgentNumber: "required"}, answers{TakesID: true, LimitChannel: "telephone"}},
		{config.Settings{Provider: config.Anyreach, AgentNumber: "any"}, answers{true, true, "telephone"}},
		{config.Settings{Provider: "vapi"}, answers{}},
	} {
		got := answers{tc.settings.TakesID(), tc.settings.AgentNumberAny(), tc.settings.LimitChannel()}
		if got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.settings.Provider, got, tc.want)
		}
	}
}

func TestBothProvidersInOneFile(t *testing.T) {
	t.Parallel()
	type lane struct {
		Batch    int
		Doubt    string
		Channels []string
	}
	lanes, limits := map[string]lane{}, map[string]map[string]int{}
	for _, a := range parse(t, houses).Accounts {
		limits[a.Name] = a.Limits
		for _, l := range a.Lanes {
			lanes[a.Name+"/"+l.Name] = lane{l.Batch, l.Doubt, l.Channels}
		}
	}
	if diff := cmp.Diff(map[string]map[string]int{"voice": {"": 20}, "reach": {"telephone": 4, "text": 200}}, limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]lane{
		"voice/north": {20, "park", nil},
		"reach/south": {1, "resend", []string{"email", "text"}},
		"reach/west":  {1, "park", nil},
	}, lanes); diff != "" {
		t.Errorf("lanes (-want +got):\n%s", diff)
	}
}

func TestLimitsInForce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, keys string
		limit      int
		want       map[string]int
	}{
		{"none", "", 10, map[string]int{"telephone": 10}},
		{"limit", "limit: 7", 7, map[string]int{"telephone": 7}},
		{"telephone", "limits: {telephone: 8}", 8, map[string]int{"telephone": 8}},
		{"another channel alone", "limits: {text: 200}", 10, map[string]int{"telephone": 10, "text": 200}},
		{"limit beside another channel", "limit: 3\n    limits: {text: 200}", 3, map[string]int{"telephone": 3, "text": 200}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := parse(t, edit(t, calls, "timeout: 15s", "timeout: 15s\n    "+tc.keys)).Accounts[0]
			if diff := cmp.Diff(tc.want, got.Limits); diff != "" || got.Limit != tc.limit {
				t.Errorf("got limit %d, want %d; limits (-want +got):\n%s", got.Limit, tc.limit, diff)
			}
		})
	}
}

func TestChannelsOfARoute(t *testing.T) {
	t.Parallel()
	const two = "channel: telephone\n      - type: b\n        request:\n          channel: email"
	for _, tc := range []struct {
		name, channel string
		want          []string
	}{
		{"literal", "channel: webrtc", []string{"webrtc"}},
		{"two routes", two, []string{"email", "telephone"}},
		{"expression", `channel: "${ 'text' }"`, nil},
		{"expression in a text", `channel: "tele${ data.kind }"`, nil},
		{"no such field", "agent_id: a", nil},
		{"not at the top", "custom_metadata: {channel: fax}", nil},
		{"one of two without", "channel: text\n      - {type: b, request: {agent_id: a}}\n      - type: c\n        request:\n          agent_id: b", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := parse(t, edit(t, calls, "channel: telephone", tc.channel)).Accounts[0].Lanes[0].Channels
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("channels (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnyreachCredentials(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{
		"{token: {env: AK}}", "{token: {env: AK}, organization: {env: ORGANIZATION}}", "{token: {env: OTHER}}",
	} {
		parse(t, edit(t, calls, "{token: {env: PAT}, organization: {env: ORGANIZATION}}", auth))
	}
	// What the token begins with is not known where it is not looked up.
	name := filepath.Join(t.TempDir(), "weir.yaml")
	write(t, name, edit(t, calls, ", organization: {env: ORGANIZATION}", ""))
	cfg, err := config.LoadBroker(name, func(string) string { return "" })
	if err != nil || cfg.Accounts[0].Auth != (config.Auth{}) {
		t.Errorf("LoadBroker: got %v, want no error and no credentials", err)
	}
}

// problemCase is an edit of a file, and what is wrong after it.
type problemCase struct{ name, old, new, want string }

func checkProblems(t *testing.T, text string, cases []problemCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("weir.yaml", []byte(edit(t, text, tc.old, tc.new)), environment)
			if diff := cmp.Diff(tc.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnyreachProblems(t *testing.T) {
	t.Parallel()
	checkProblems(t, calls, slices.Concat(anyreachAuthCases(), anyreachLimitCases(), []problemCase{
		{"agent_number", "timeout: 15s", "agent_number: anny", "weir.yaml:6:5: lanes[0].agent_number: must be required or any; did you mean any?"},
		{"a number for agent_number", "timeout: 15s", "agent_number: +14155550101", "weir.yaml:6:5: lanes[0].agent_number: must be text: put it in quotes"},
		{"short visible_after", "timeout: 15s", "visible_after: 99ms", "weir.yaml:6:5: lanes[0].visible_after: must be between 100ms and 10m"},
		{"long visible_after", "timeout: 15s", "visible_after: 11m", "weir.yaml:6:5: lanes[0].visible_after: must be between 100ms and 10m"},
		{"no visible_after", "timeout: 15s", "visible_after: 0s", "weir.yaml:6:5: lanes[0].visible_after: must be between 100ms and 10m"},
		{"full_when", "timeout: 15s", `full_when: [busy, "("]`,
			"weir.yaml:6:5: lanes[0].full_when: has no meaning here: this provider's errors are one a request, told by their status"},
		{"probe", "timeout: 15s", "pacing: {probe: post}", "weir.yaml:6:14: lanes[0].pacing.probe: must be auto or get: this provider queues what passes its limit, and refuses nothing"},
		{"batch", "timeout: 15s", "batch: 2", "weir.yaml:6:5: lanes[0].batch: must be 1: this provider takes one conversation a request"},
		{"no batch", "timeout: 15s", "batch: 0", "weir.yaml:6:5: lanes[0].batch: must be 1: this provider takes one conversation a request"},
		{"doubt", "timeout: 15s", "doubt: drop", "weir.yaml:6:5: lanes[0].doubt: must be park or resend"},
		{"no attempts", "timeout: 15s", "attempts: 0", "weir.yaml:6:5: lanes[0].attempts: must be between 1 and 100"},
		{"attempts", "timeout: 15s", "attempts: 101", "weir.yaml:6:5: lanes[0].attempts: must be between 1 and 100"},
		{"expires too soon", "timeout: 15s", "expire_after: 59s", "weir.yaml:6:5: lanes[0].expire_after: must be between 1m and 8760h; 0s is for ever"},
		{"expires too late", "timeout: 15s", "expire_after: 8761h", "weir.yaml:6:5: lanes[0].expire_after: must be between 1m and 8760h; 0s is for ever"},
		{"attempts with park", "timeout: 15s", "attempts: 5\n    doubt: park", "weir.yaml:6:5: lanes[0].attempts: has no meaning without doubt: resend"},
		{"join_token", "timeout: 15s", "join_token: 1", "weir.yaml:6:5: lanes[0].join_token: must be true or false"},
		{"send", "timeout: 15s", "send: off", "weir.yaml:6:5: lanes[0].send: must be true or false"},
		{"join_token in quotes", "timeout: 15s", `join_token: "true"`, "weir.yaml:6:5: lanes[0].join_token: must be true or false"},
		{"channel", "channel: telephone", "channel: fax", "weir.yaml:10:11: lanes[0].routes[0].request.channel: must be telephone or webrtc or email or text"},
		{"channel in capitals", "channel: telephone", "channel: Telephone",
			"weir.yaml:10:11: lanes[0].routes[0].request.channel: must be telephone or webrtc or email or text; did you mean telephone?"},
		{"channel that is no text", "channel: telephone", "channel: [text]",
			"weir.yaml:10:11: lanes[0].routes[0].request.channel: must be telephone or webrtc or email or text"},
		{"channel that cannot be read", "channel: telephone", "channel: &a text",
			"weir.yaml:10:11: lanes[0].routes[0].request.channel: anchors and aliases are not supported: write the value out"},
		{"channels of two routes", "channel: telephone", "channel: fax\n      - {type: b, request: {channel: letter}}\n      - type: c\n        request:\n          channel: text", lines(
			"weir.yaml:10:11: lanes[0].routes[0].request.channel: must be telephone or webrtc or email or text",
			"weir.yaml:11:29: lanes[0].routes[1].request.channel: must be telephone or webrtc or email or text")},
	}))
}

func anyreachAuthCases() []problemCase {
	const both = "{token: {env: PAT}, organization: {env: ORGANIZATION}}"
	const no = ": is no credential of anyreach, which takes token, with organization if it begins with pat_"
	return []problemCase{
		{"no auth", "    auth: " + both + "\n", "", "weir.yaml:2:5: lanes[0].auth: is missing"},
		{"nothing in auth", both, "{}", "weir.yaml:5:5: lanes[0].auth: must have token, with organization if it begins with pat_"},
		{"a person's token alone", ", organization: {env: ORGANIZATION}", "",
			"weir.yaml:5:5: lanes[0].auth.organization: is missing: a token that begins with pat_ needs it"},
		{"organization alone", "token: {env: PAT}, ", "",
			"weir.yaml:5:5: lanes[0].auth.token: is missing: it goes together with lanes[0].auth.organization"},
		{"oration's", both, "{api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}", lines(
			"weir.yaml:5:12: lanes[0].auth.api_key"+no,
			"weir.yaml:5:33: lanes[0].auth.workspace_id"+no)},
		{"oration's beside the right one", both, "{bearer: {env: BEARER}, token: {env: PAT}}", lines(
			"weir.yaml:5:5: lanes[0].auth.organization: is missing: a token that begins with pat_ needs it",
			"weir.yaml:5:12: lanes[0].auth.bearer"+no)},
		{"oration's, and not set", both, "{bearer: {env: NONE}}", lines(
			"weir.yaml:5:12: lanes[0].auth.bearer: environment variable NONE is not set",
			"weir.yaml:5:12: lanes[0].auth.bearer"+no)},
	}
}

func anyreachLimitCases() []problemCase {
	return []problemCase{
		{"limit and telephone", "timeout: 15s", "limit: 10\n    limits: {text: 1, telephone: 10}",
			"weir.yaml:7:23: lanes[0].limits.telephone: limit is short for this: leave one of them out"},
		{"unknown channel", "timeout: 15s", "limits: {fax: 1, telephon: 0}", lines(
			"weir.yaml:6:14: lanes[0].limits.fax: is no channel of anyreach, which has telephone, webrtc, email, text",
			"weir.yaml:6:22: lanes[0].limits.telephon: is no channel of anyreach, which has telephone, webrtc, email, text")},
		{"the channel without a name", "timeout: 15s", `limits: {"": 5}`,
			"weir.yaml:6:14: lanes[0].limits.: is no channel of anyreach, which has telephone, webrtc, email, text"},
		{"bounds", "timeout: 15s", "limits: {telephone: 0, text: 10001, email: -1}", lines(
			"weir.yaml:6:14: lanes[0].limits.telephone: must be between 1 and 10000",
			"weir.yaml:6:28: lanes[0].limits.text: must be between 1 and 10000",
			"weir.yaml:6:41: lanes[0].limits.email: must be between 1 and 10000")},
		{"no limit", "timeout: 15s", "limit: 0", "weir.yaml:6:5: lanes[0].limit: must be between 1 and 10000"},
		{"values", "timeout: 15s", `limits: {telephone: "1", text: 1.5, email: , text: 2}`, lines(
			"weir.yaml:6:14: lanes[0].limits.telephone: must be a whole number",
			"weir.yaml:6:30: lanes[0].limits.text: must be a whole number",
			"weir.yaml:6:41: lanes[0].limits.email: is empty: give it a value or leave it out",
			"weir.yaml:6:50: lanes[0].limits.text: is given twice; first on line 6")},
		{"no block", "timeout: 15s", "limits: 10", "weir.yaml:6:5: lanes[0].limits: must be a block of keys"},
		{"an empty block", "timeout: 15s", "limits: {}", "weir.yaml:6:5: lanes[0].limits: is empty: give it a value or leave it out"},
		{"limit_max below the default", "timeout: 15s", "limit_max: 9", "weir.yaml:6:5: lanes[0].limit_max: must be between limit (10) and 10000, or 0"},
		{"limit_max below telephone", "timeout: 15s", "limits: {telephone: 30}\n    limit_max: 29",
			"weir.yaml:7:5: lanes[0].limit_max: must be between limits.telephone (30) and 10000, or 0"},
		{"reserve of all calls", "timeout: 15s", "limits: {text: 200}\n    reserve: 10",
			"weir.yaml:7:5: lanes[0].reserve: must be at least 0 and less than limit (10)"},
		{"reserve of telephone", "timeout: 15s", "limits: {telephone: 3}\n    reserve: 3",
			"weir.yaml:7:5: lanes[0].reserve: must be at least 0 and less than limits.telephone (3)"},
	}
}

func TestOrationProblems(t *testing.T) {
	t.Parallel()
	const no = ": is no credential of oration, which takes api_key with workspace_id, or bearer"
	checkProblems(t, small, []problemCase{
		{"limits", "limit: 20", "limits: {telephone: 5}", "weir.yaml:6:5: lanes[0].limits: this provider counts all conversations together: use limit"},
		{"limits of all", "limit: 20", "limit: 20\n    limits: {\"\": 5}\n    reserve: 5", "weir.yaml:7:5: lanes[0].limits: this provider counts all conversations together: use limit"},
		{"agent_number", "limit: 20", "agent_number: any", "weir.yaml:6:5: lanes[0].agent_number: has no meaning here: this provider asks for no number to call from"},
		{"visible_after", "limit: 20", "visible_after: 30s", "weir.yaml:6:5: lanes[0].visible_after: has no meaning here: this provider takes no id of ours to look up"},
		{"join_token", "limit: 20", "join_token: false", "weir.yaml:6:5: lanes[0].join_token: has no meaning here: this provider has no channel webrtc"},
		{"attempts", "limit: 20", "attempts: 101", "weir.yaml:6:5: lanes[0].attempts: has no meaning without doubt: resend"},
		{"anyreach's credentials", "{api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}", "{token: {env: AK}, organization: {env: ORGANIZATION}}", lines(
			"weir.yaml:5:12: lanes[0].auth.token"+no,
			"weir.yaml:5:30: lanes[0].auth.organization"+no)},
		{"anyreach's beside half of its own", "workspace_id: {env: WORKSPACE}", "token: {env: AK}", lines(
			"weir.yaml:5:5: lanes[0].auth.workspace_id: is missing: it goes together with lanes[0].auth.api_key",
			"weir.yaml:5:33: lanes[0].auth.token"+no)},
	})
}

// Where the provider's name is wrong, what depends on it is not told.
func TestUnknownProviderIsTheOnlyProblem(t *testing.T) {
	t.Parallel()
	const name = "weir.yaml:3:5: lanes[0].provider: must be oration or anyreach"
	checkProblems(t, calls, []problemCase{
		{"alone", "provider: anyreach", "provider: vapi", name},
		{"with each key", "provider: anyreach\n", "provider: vapi\n    limits: {fax: 1}\n    limit_max: 5\n    reserve: 3\n    visible_after: 1s\n    agent_number: any\n" +
			"    full_when: [busy]\n    batch: 20\n    doubt: resend\n    attempts: 3\n    join_token: true\n", name},
		{"with bounds of every provider", "provider: anyreach\n", "provider: vapi\n    limit: 0\n    batch: 101\n", lines(name,
			"weir.yaml:4:5: lanes[0].limit: must be between 1 and 10000",
			"weir.yaml:5:5: lanes[0].batch: must be between 1 and 100")},
		{"none", "    provider: anyreach\n    url", "    reserve: 3\n    url", "weir.yaml:2:5: lanes[0].provider: is missing"},
	})
}

// A lane that names an account has the account's provider.
func TestLanesOfASharedAccountHaveItsProvider(t *testing.T) {
	t.Parallel()
	checkProblems(t, houses, []problemCase{
		{"batch", "weight: 2", "batch: 20", "weir.yaml:20:5: lanes[2].batch: must be 1: this provider takes one conversation a request"},
		{"attempts", "weight: 2", "attempts: 2", "weir.yaml:20:5: lanes[2].attempts: has no meaning without doubt: resend"},
		{"channel", "{channel: email}", "{channel: fax}", "weir.yaml:17:71: lanes[1].routes[1].request.channel: must be telephone or webrtc or email or text"},
		{"H18 resend", "account: voice", "account: voice\n    doubt: resend",
			"weir.yaml:14:5: lanes[0].doubt: must be park: this provider takes no id of ours, so resend could call a person twice"},
		{"join_token", "account: voice", "account: voice\n    join_token: true", "weir.yaml:14:5: lanes[0].join_token: has no meaning here: this provider has no channel webrtc"},
		{"settings", "weight: 2", "limits: {text: 5}\n    agent_number: any\n    visible_after: 1s", lines(
			`weir.yaml:20:5: lanes[2].limits: belongs to the account "reach" that this lane names: give it there`,
			`weir.yaml:21:5: lanes[2].agent_number: belongs to the account "reach" that this lane names: give it there`,
			`weir.yaml:22:5: lanes[2].visible_after: belongs to the account "reach" that this lane names: give it there`)},
		{"another provider", "weight: 2", "provider: oration\n    batch: 2", lines(
			`weir.yaml:20:5: lanes[2].provider: belongs to the account "reach" that this lane names: give it there`,
			"weir.yaml:21:5: lanes[2].batch: must be 1: this provider takes one conversation a request")},
		{"no such account", "account: reach\n    weight: 2", "account: rich\n    batch: 20\n    attempts: 2\n    join_token: true",
			lines("weir.yaml:19:5: lanes[2].account: there is no account of that name under accounts",
				"weir.yaml:21:5: lanes[2].attempts: has no meaning without doubt: resend")},
		{"a lane's keys in an account", "limits: {text: 200, telephone: 4}", "attempts: 3\n    join_token: true\n    send: false", lines(
			"weir.yaml:10:5: accounts[1].attempts: belongs into a lane's block",
			"weir.yaml:11:5: accounts[1].join_token: belongs into a lane's block",
			"weir.yaml:12:5: accounts[1].send: belongs into a lane's block")},
	})
}

// H15: two blocks for one organization would double its limit.
func TestH15OneOrganizationHasOneBlock(t *testing.T) {
	t.Parallel()
	const together = `weir.yaml:13:5: lanes[1].auth: lane "hooli" is the same organization as lane "initech" on line 2, ` +
		"and together they would pass its limit: describe it once under accounts and let each lane name it"
	for _, tc := range []struct{ name, first, second, want string }{
		{"one organization, two tokens", "{token: {env: PAT}, organization: {env: ORGANIZATION}}", "{token: {env: AK}, organization: {env: ORGANIZATION}}", together},
		{"one key", "{token: {env: AK}}", "{token: {env: AK}}", together},
		{"one key, once with its organization", "{token: {env: AK}}", "{token: {env: AK}, organization: {env: ORGANIZATION}}", together},
		{"two keys", "{token: {env: AK}}", "{token: {env: AK2}}", "<nil>"},
		{"one person in two organizations", "{token: {env: PAT}, organization: {env: ORGANIZATION}}", "{token: {env: PAT}, organization: {env: ORGANIZATION2}}", "<nil>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			block := func(name, auth string) string {
				return fmt.Sprintf("  - name: %s\n    label: A\n    provider: anyreach\n    url: https://%s.example\n    auth: %s\n"+
					"    batch: 1\n    routes: [{type: a, request: {channel: text}}]\n", name, name, auth)
			}
			_, err := config.Parse("weir.yaml", []byte("lanes:\n"+block("initech", tc.first)+block("hooli", tc.second)), environment)
			if diff := cmp.Diff(tc.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a workspace of the other provider", func(t *testing.T) {
		t.Parallel()
		parse(t, edit(t, houses, "{token: {env: AK}}", "{token: {env: AK}, organization: {env: WORKSPACE}}"))
	})
}
