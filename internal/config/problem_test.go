package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
)

// lines joins the texts that an error has one of a line.
func lines(texts ...string) string { return strings.Join(texts, "\n") }

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		old, new string // an edit of the small file
		want     string
	}{
		// Keys.
		{"unknown with a near one", "limit: 20", "limt: 20", "weir.yaml:6:5: lanes[0].limt: unknown key; did you mean limit?"},
		{"unknown in capitals", "limit: 20", "maxCall: 20m", "weir.yaml:6:5: lanes[0].maxCall: unknown key; did you mean max_call?"},
		{"unknown with none near", "limit: 20", "colour: red", "weir.yaml:6:5: lanes[0].colour: unknown key"},
		{"unknown at the top", "lanes:", "lane: 1\nlanes:", "weir.yaml:1:1: lane: unknown key; did you mean lanes?"},
		{"unknown that needs quotes", "limit: 20", `"a\nb": 1`, `weir.yaml:6:5: lanes[0].a\nb: unknown key`},
		{"unknown beside secrets is not repeated", "auth: {api_key", "auth: {sesame: 1, sesame: 2, api_key", lines(
			"weir.yaml:5:12: lanes[0].auth: unknown key",
			"weir.yaml:5:23: lanes[0].auth: unknown key")},
		{"twice", "limit: 20", "limit: 20\n    limit: 30", "weir.yaml:7:5: lanes[0].limit: is given twice; first on line 6"},
		{"twice in a request", "toPhoneNumber: ${ data.phone }", "a: 1\n          a: 2",
			"weir.yaml:11:11: lanes[0].routes[0].request.a: is given twice; first on line 10"},
		{"number as a key", "limit: 20", "20: limit", "weir.yaml:6:5: lanes[0]: a key must be text: put it in quotes"},
		{"block as a key", "limit: 20", "? {a: b}\n    : 1", "weir.yaml:6:7: lanes[0]: a key must be plain text"},
		{"merge key", "limit: 20", "<<: {limit: 20}", "weir.yaml:6:5: lanes[0]: merge keys are not supported: write the values out"},
		{"from", "limit: 20", "from: {stream: CRM}", "weir.yaml:6:5: lanes[0].from: is not available in this version"},
		{"embedded under broker", "lanes:", "broker: {url: nats://a.example, embedded: {}}\nlanes:",
			"weir.yaml:1:33: broker: embedded is a key of its own, beside broker"},

		// Types of values.
		{"empty", "limit: 20", "limit:", "weir.yaml:6:5: lanes[0].limit: is empty: give it a value or leave it out"},
		{"empty text", "limit: 20", `label: ""`, "weir.yaml:6:5: lanes[0].label: is empty: give it a value or leave it out"},
		{"number for text", "name: acme", "name: 42", "weir.yaml:2:5: lanes[0].name: must be text: put it in quotes"},
		{"list for text", "name: acme", "name: [acme]", "weir.yaml:2:5: lanes[0].name: must be text"},
		{"text for number", "limit: 20", "limit: twenty", "weir.yaml:6:5: lanes[0].limit: must be a whole number"},
		{"quoted number", "limit: 20", `limit: "20"`, "weir.yaml:6:5: lanes[0].limit: must be a whole number"},
		{"fraction", "limit: 20", "limit: 20.0", "weir.yaml:6:5: lanes[0].limit: must be a whole number"},
		{"octal", "limit: 20", "limit: 020", "weir.yaml:6:5: lanes[0].limit: must be a whole number"},
		{"huge", "limit: 20", "limit: 99999999999999999999", "weir.yaml:6:5: lanes[0].limit: must be a whole number"},
		{"duration without unit", "limit: 20", "timeout: 15", "weir.yaml:6:5: lanes[0].timeout: must be a duration with its unit, such as 15s, 2m or 1h"},
		{"duration in words", "limit: 20", "timeout: a while", "weir.yaml:6:5: lanes[0].timeout: must be a duration with its unit, such as 15s, 2m or 1h"},
		{"size in KB", "limit: 20", "max_event: 256KB", "weir.yaml:6:5: lanes[0].max_event: must be a size such as 256KiB, 1MiB or a number of bytes"},
		{"text for a block", "limit: 20", "pacing: tight", "weir.yaml:6:5: lanes[0].pacing: must be a block of keys"},
		{"block for a list", "limit: 20", "full_when: {a: b}", "weir.yaml:6:5: lanes[0].full_when: must be a list"},
		{"alias", "limit: 20", "label: &a x\n    doubt: *a", lines(
			"weir.yaml:6:5: lanes[0].label: anchors and aliases are not supported: write the value out",
			"weir.yaml:7:5: lanes[0].doubt: anchors and aliases are not supported: write the value out")},
		{"tag", "limit: 20", "limit: !!int 20", "weir.yaml:6:5: lanes[0].limit: tags are not supported"},
		{"telephone number without quotes", "${ data.phone }", "+14155550101",
			"weir.yaml:10:11: lanes[0].routes[0].request.toPhoneNumber: would be read as a number: put it in quotes"},
		{"not a number", "${ data.phone }", ".nan",
			"weir.yaml:10:11: lanes[0].routes[0].request.toPhoneNumber: is not a number that JSON has: put it in quotes"},
		{"request that is a list", "request:\n          toPhoneNumber: ${ data.phone }", "request: [1]",
			"weir.yaml:9:9: lanes[0].routes[0].request: must be a block of keys"},
		{"alias in a request", "${ data.phone }", "&a b",
			"weir.yaml:10:11: lanes[0].routes[0].request.toPhoneNumber: anchors and aliases are not supported: write the value out"},
		{"long key in a request", "toPhoneNumber", strings.Repeat("a", 129), lines(
			"weir.yaml:9:9: lanes[0].routes[0].request: is missing or empty",
			"weir.yaml:10:11: lanes[0].routes[0].request: a key is longer than 128 bytes")},
		{"nested too deeply", "${ data.phone }", strings.Repeat("[", 20) + strings.Repeat("]", 20),
			"weir.yaml:10:37: lanes[0].routes[0].request.toPhoneNumber" + strings.Repeat("[0]", 11) + ": is nested too deeply"},

		// Lanes.
		{"no lanes", small, "lanes: []\n", "weir.yaml:1:1: lanes: must have at least one lane"},
		{"no block for a lane", "lanes:\n", "lanes:\n  - acme\n", "weir.yaml:2:5: lanes[0]: must be a block of keys"},
		{"no block for a route", "    routes:\n", "    routes:\n      -\n", "weir.yaml:8:8: lanes[0].routes[0]: is empty: give it a value or leave it out"},
		{"nothing of a lane", small, "lanes:\n  - label: A\n", lines(
			"weir.yaml:2:5: lanes[0].name: is missing",
			"weir.yaml:2:5: lanes[0].routes: must have at least one route",
			"weir.yaml:2:5: lanes[0].provider: is missing",
			"weir.yaml:2:5: lanes[0].url: is missing",
			"weir.yaml:2:5: lanes[0].auth: is missing")},
		{"name", "name: acme", "name: Acme Sales", "weir.yaml:2:5: lanes[0].name: must be 1 to 32 of a-z, 0-9 and -"},
		{"long name", "name: acme", "name: " + strings.Repeat("a", 33), "weir.yaml:2:5: lanes[0].name: must be 1 to 32 of a-z, 0-9 and -"},
		{"label of two lines", "limit: 20", `label: "a\nb"`, "weir.yaml:6:5: lanes[0].label: must be one line of at most 80 bytes"},
		{"weight without account", "limit: 20", "weight: 2", "weir.yaml:6:5: lanes[0].weight: has no meaning without account: this lane shares with no other"},
		{"batch", "limit: 20", "batch: 101", "weir.yaml:6:5: lanes[0].batch: must be between 1 and 100"},
		{"doubt limit", "limit: 20", "doubt_limit: -1", "weir.yaml:6:5: lanes[0].doubt_limit: must be between 0 and 10000"},
		{"small max_event", "limit: 20", "max_event: 100", "weir.yaml:6:5: lanes[0].max_event: must be between 1KiB and 8MiB"},
		{"large max_event", "limit: 20", "max_event: 9MiB", "weir.yaml:6:5: lanes[0].max_event: must be between 1KiB and 8MiB"},
		{"H18 resend", "limit: 20", "doubt: resend",
			"weir.yaml:6:5: lanes[0].doubt: must be park: this provider takes no id of ours, so resend could call a person twice"},
		{"doubt", "limit: 20", "doubt: drop", "weir.yaml:6:5: lanes[0].doubt: must be park"},
		{"unknown account", "    provider: oration\n", "    account: hose\n", lines(
			`weir.yaml:3:5: lanes[0].account: there is no account of that name under accounts`,
			`weir.yaml:4:5: lanes[0].url: belongs to the account "hose" that this lane names: give it there`,
			`weir.yaml:5:5: lanes[0].auth: belongs to the account "hose" that this lane names: give it there`,
			`weir.yaml:6:5: lanes[0].limit: belongs to the account "hose" that this lane names: give it there`)},

		// Settings.
		{"provider", "provider: oration", "provider: vapi", "weir.yaml:3:5: lanes[0].provider: must be oration or anyreach"},
		{"provider with a near one", "provider: oration", "provider: AnyReach",
			"weir.yaml:3:5: lanes[0].provider: must be oration or anyreach; did you mean anyreach?"},
		{"http", "https://voice.example/api/v2", "http://voice.example", "weir.yaml:4:5: lanes[0].url: must be https, or http on loopback"},
		{"http on a look-alike", "https://voice.example/api/v2", "http://127.0.0.1.example", "weir.yaml:4:5: lanes[0].url: must be https, or http on loopback"},
		{"no url", "https://voice.example/api/v2", "voice.example", "weir.yaml:4:5: lanes[0].url: must be https, or http on loopback"},
		{"broken url", "https://voice.example/api/v2", `"https://a b"`, "weir.yaml:4:5: lanes[0].url: must be a URL"},
		{"url without host", "https://voice.example/api/v2", "https:///api", "weir.yaml:4:5: lanes[0].url: must have a host"},
		{"url with credentials", "https://voice.example/api/v2", "https://u:sesame@voice.example", "weir.yaml:4:5: lanes[0].url: must not hold credentials: give them under auth"},
		{"url with a bad port", "https://voice.example/api/v2", "https://voice.example:70000", "weir.yaml:4:5: lanes[0].url: must have a port from 0 to 65535, or none"},
		{"url with query", "https://voice.example/api/v2", "https://voice.example?key=sesame", "weir.yaml:4:5: lanes[0].url: must end with its path: no query and no fragment"},
		{"low limit", "limit: 20", "limit: 0", "weir.yaml:6:5: lanes[0].limit: must be between 1 and 10000"},
		{"high limit", "limit: 20", "limit: 10001", "weir.yaml:6:5: lanes[0].limit: must be between 1 and 10000"},
		{"limit_max below limit", "limit: 20", "limit: 20\n    limit_max: 19", "weir.yaml:7:5: lanes[0].limit_max: must be between limit (20) and 10000, or 0"},
		{"reserve of all", "limit: 20", "limit: 20\n    reserve: 20", "weir.yaml:7:5: lanes[0].reserve: must be at least 0 and less than limit (20)"},
		{"reserve below zero", "limit: 20", "reserve: -1", "weir.yaml:6:5: lanes[0].reserve: must be at least 0 and less than limit (20)"},
		{"preset", "limit: 20", "pacing: {preset: tigth}", "weir.yaml:6:14: lanes[0].pacing.preset: must be frugal or tight; did you mean tight?"},
		{"mean_call", "limit: 20", "pacing: {mean_call: 5h}", "weir.yaml:6:14: lanes[0].pacing.mean_call: must be between 100ms and 4h"},
		{"probe", "limit: 20", "pacing: {probe: pots}", "weir.yaml:6:14: lanes[0].pacing.probe: must be auto or get or post; did you mean post?"},
		{"probe past a reserve", "limit: 20", "limit: 20\n    reserve: 2\n    pacing: {probe: post}", "weir.yaml:8:14: lanes[0].pacing.probe: must be auto or get where there is a reserve: the provider would not refuse what is left to others"},
		{"timeout", "limit: 20", "timeout: 3m", "weir.yaml:6:5: lanes[0].timeout: must be between 1s and 2m"},
		{"max_call", "limit: 20", "max_call: 10ms", "weir.yaml:6:5: lanes[0].max_call: must be between 1s and 24h"},
		{"no patterns", "limit: 20", "full_when: []", "weir.yaml:6:5: lanes[0].full_when: must have 1 to 32 patterns; leave it out for the default"},
		{"patterns", "limit: 20", `full_when: [ok, "(", ".*", "` + strings.Repeat("a", 257) + `"]`, lines(
			"weir.yaml:6:21: lanes[0].full_when[1]: is not a regular expression",
			"weir.yaml:6:26: lanes[0].full_when[2]: matches every text: no item would ever be rejected",
			"weir.yaml:6:32: lanes[0].full_when[3]: is longer than 256 bytes")},
		{"statuses", "limit: 20", "refused_statuses: [503, 200, 429, 503, x]", lines(
			"weir.yaml:6:29: lanes[0].refused_statuses[1]: must be between 400 and 599",
			"weir.yaml:6:34: lanes[0].refused_statuses[2]: must not be 401, 403 or 429, which have a meaning of their own",
			"weir.yaml:6:39: lanes[0].refused_statuses[3]: is given twice",
			"weir.yaml:6:44: lanes[0].refused_statuses[4]: must be a whole number")},
		{"headers", "limit: 20", "headers: {limit: X-A, remaining: x-a, reset: 'X A'}", lines(
			"weir.yaml:6:27: lanes[0].headers.remaining: names the same header as limit",
			"weir.yaml:6:43: lanes[0].headers.reset: must be the name of a header")},
		{"breaker", "limit: 20", "breaker: {failures: 0, open: 2h}", lines(
			"weir.yaml:6:15: lanes[0].breaker.failures: must be between 1 and 1000",
			"weir.yaml:6:28: lanes[0].breaker.open: must be between 100ms and 1h")},

		// Secrets and auth.
		{"literal", "{env: KEY}", "sesame", "weir.yaml:5:12: lanes[0].auth.api_key: must be {env: NAME} or {file: PATH}; a secret itself never stands in this file"},
		{"literal as a key", "{env: KEY}", "{sesame}", "weir.yaml:5:12: lanes[0].auth.api_key: must be {env: NAME} or {file: PATH}; a secret itself never stands in this file"},
		{"literal in place of the block", "{api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}", "sesame", "weir.yaml:5:5: lanes[0].auth: must be a block of keys"},
		{"both env and file", "{env: KEY}", "{env: KEY, file: x}", "weir.yaml:5:12: lanes[0].auth.api_key: must be {env: NAME} or {file: PATH}; a secret itself never stands in this file"},
		{"unset", "{env: KEY}", "{env: ORATION_API_KEY}", "weir.yaml:5:12: lanes[0].auth.api_key: environment variable ORATION_API_KEY is not set"},
		{"unset, and may be the secret", "{env: KEY}", "{env: sesame}", "weir.yaml:5:12: lanes[0].auth.api_key: the environment variable that is named here is not set"},
		{"no variable", "{env: KEY}", "{env: sk-sesame}", "weir.yaml:5:12: lanes[0].auth.api_key: env must be followed by the name of an environment variable"},
		{"variable without name", "{env: KEY}", "{env: }", "weir.yaml:5:12: lanes[0].auth.api_key: env must be followed by a name"},
		{"two lines", "{env: KEY}", "{env: LINES}", "weir.yaml:5:12: lanes[0].auth.api_key: the value found there has a line break or another control character in it"},
		{"no such file", "{env: KEY}", "{file: sesame}", "weir.yaml:5:12: lanes[0].auth.api_key: the file that is named here does not exist"},
		{"no regular file", "{env: KEY}", "{file: .}", "weir.yaml:5:12: lanes[0].auth.api_key: what is named here is not a regular file"},
		{"both modes", "{api_key", "{bearer: {env: BEARER}, api_key", "weir.yaml:5:5: lanes[0].auth: must have either api_key with workspace_id, or bearer"},
		{"no mode", "{api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}", "{public_key: {env: PUBLIC}}", "weir.yaml:5:5: lanes[0].auth: must have api_key with workspace_id, or bearer"},
		{"half a mode", ", workspace_id: {env: WORKSPACE}", "", "weir.yaml:5:5: lanes[0].auth.workspace_id: is missing: it goes together with lanes[0].auth.api_key"},

		// Routes.
		{"no routes", "routes:", "routes: []\n    x:", lines(
			"weir.yaml:7:5: lanes[0].routes: must have at least one route",
			"weir.yaml:8:5: lanes[0].x: unknown key")},
		{"route without anything", "- type: lead.created\n        request:\n          toPhoneNumber: ${ data.phone }", "- when: has(data.id)", lines(
			"weir.yaml:8:9: lanes[0].routes[0].type: is missing",
			"weir.yaml:8:9: lanes[0].routes[0].request: is missing or empty")},

		// Broker and listeners.
		{"both brokers", "lanes:", "broker: {url: nats://a.example}\nembedded: {dir: d}\nlanes:",
			"weir.yaml:2:1: embedded: cannot stand beside broker: leave one of them out"},
		{"no block for the broker", "lanes:", "broker: nats://a.example\nlanes:", "weir.yaml:1:1: broker: must be a block of keys"},
		{"broker without url", "lanes:", "broker: {replicas: 3}\nlanes:", "weir.yaml:1:1: broker.url: is missing"},
		{"broker with url and urls", "lanes:", "broker: {url: nats://a.example, urls: [nats://a.example]}\nlanes:",
			"weir.yaml:1:33: broker.urls: cannot stand beside url: leave one of them out"},
		{"urls", "lanes:", `broker: {urls: [nats://u:sesame@a.example, "http://a.example", "nats://", "nats://a.example?x"]}` + "\nlanes:", lines(
			"weir.yaml:1:17: broker.urls[0]: must not hold credentials: give them as user and password, or token",
			"weir.yaml:1:44: broker.urls[1]: must begin with nats://, tls://, ws:// or wss://",
			"weir.yaml:1:64: broker.urls[2]: must be a URL such as nats://127.0.0.1:4222",
			"weir.yaml:1:75: broker.urls[3]: must be a URL such as nats://127.0.0.1:4222")},
		{"broker's url with a bad port", "lanes:", "broker: {url: 'nats://a.example:70000'}\nlanes:",
			"weir.yaml:1:10: broker.url: must have a port from 0 to 65535, or none"},
		{"two ways in", "lanes:", "broker: {url: nats://a.example, user: u, password: {env: TOKEN}, token: {env: TOKEN}}\nlanes:",
			"weir.yaml:1:1: broker: user, token exclude each other: keep one"},
		{"password alone", "lanes:", "broker: {url: nats://a.example, password: {env: TOKEN}}\nlanes:",
			"weir.yaml:1:1: broker.user: is missing: it goes together with broker.password"},
		{"files that are not there", "lanes:", "broker: {url: nats://a.example, nkey: a, tls: {ca: b, cert: c, key: d}}\nlanes:", lines(
			"weir.yaml:1:33: broker.nkey: the file that is named here does not exist",
			"weir.yaml:1:48: broker.tls.ca: the file that is named here does not exist",
			"weir.yaml:1:55: broker.tls.cert: the file that is named here does not exist",
			"weir.yaml:1:64: broker.tls.key: the file that is named here does not exist")},
		{"creds that are no file", "lanes:", "broker: {url: nats://a.example, creds: .}\nlanes:",
			"weir.yaml:1:33: broker.creds: what is named here is not a regular file"},
		{"cert alone", "lanes:", "broker: {url: tls://a.example, tls: {cert: none.pem}}\nlanes:", lines(
			"weir.yaml:1:32: broker.tls.key: is missing: it goes together with broker.tls.cert",
			"weir.yaml:1:38: broker.tls.cert: the file that is named here does not exist")},
		{"domain", "lanes:", "broker: {url: nats://a.example, domain: a.b}\nlanes:",
			"weir.yaml:1:33: broker.domain: must be letters, digits, hyphens and underscores, at most 64"},
		{"inbox", "lanes:", "broker: {url: nats://a.example, inbox: 'a.>'}\nlanes:",
			"weir.yaml:1:33: broker.inbox: must be letters, digits, hyphens and underscores, at most 64"},
		{"replicas and ack_wait", "lanes:", "broker: {url: nats://a.example, replicas: 6, ack_wait: 1ms}\nlanes:", lines(
			"weir.yaml:1:33: broker.replicas: must be between 1 and 5",
			"weir.yaml:1:46: broker.ack_wait: must be between 1s and 30m")},
		{"monitors", "lanes:", "broker: {url: nats://a.example, monitors: ['http://a.example:8222', 'https://u:sesame@a.example', '127.0.0.1:8222', 'https://a.example']}\nlanes:", lines(
			"weir.yaml:1:44: broker.monitors[0]: must be https, or http on loopback",
			"weir.yaml:1:69: broker.monitors[1]: must not hold credentials: a monitor takes none",
			"weir.yaml:1:99: broker.monitors[2]: must be a URL such as http://127.0.0.1:8222")},
		{"monitor twice", "lanes:", "broker: {url: nats://a.example, monitor: 'http://127.0.0.1', monitors: ['http://127.0.0.1']}\nlanes:",
			"weir.yaml:1:62: broker.monitors: cannot stand beside monitor: leave one of them out"},
		{"system beside a monitor", "lanes:", "broker: {url: nats://a.example, monitor: 'http://127.0.0.1', system: {user: u}}\nlanes:", lines(
			"weir.yaml:1:62: broker.system.password: is missing: it goes together with broker.system.user",
			"weir.yaml:1:62: broker.system: cannot stand beside monitor: leave one of them out")},
		{"system of nobody", "lanes:", "broker: {url: nats://a.example, system: {}}\nlanes:",
			"weir.yaml:1:33: broker.system: needs creds, or user and password"},
		{"two system users", "lanes:", "broker: {url: nats://a.example, system: {creds: none, user: u, password: {env: TOKEN}}}\nlanes:", lines(
			"weir.yaml:1:33: broker.system: creds, user exclude each other: keep one",
			"weir.yaml:1:42: broker.system.creds: the file that is named here does not exist")},
		{"a short memory", "lanes:", "ledger: {keep: 240h}\nlanes:",
			"weir.yaml:1:10: ledger.keep: must be between 840h and 87600h"},
		{"forgotten at once", "lanes:", "events: {keep: 1h}\noutcomes: {keep: 1h}\ndead: {keep: 1h}\nlanes:", lines(
			"weir.yaml:1:10: events.keep: must be between 96h and 87600h",
			"weir.yaml:2:12: outcomes.keep: must be between 48h and 87600h",
			"weir.yaml:3:8: dead.keep: must be between 24h and 87600h")},
		{"kept for longer than the ledger knows", "lanes:", "events: {keep: 2137h}\noutcomes: {keep: 2041h}\nlanes:", lines(
			"weir.yaml:1:10: events.keep: must be at least a day below ledger.keep, which is 2160h",
			"weir.yaml:2:12: outcomes.keep: must be at least five days below ledger.keep, which is 2160h")},
		{"a ledger that forgets sooner", "lanes:", "ledger: {keep: 840h}\noutcomes: {keep: 721h}\nlanes:",
			"weir.yaml:2:12: outcomes.keep: must be at least five days below ledger.keep, which is 840h"},
		{"a key that could be guessed", "lanes:", "do_not_contact: {key: {env: SHORT}}\nlanes:",
			"weir.yaml:1:18: do_not_contact.key: must have 16 to 256 characters"},
		{"public listener", "lanes:", "admin: {listen: 0.0.0.0:8092}\nlanes:",
			"weir.yaml:1:9: admin.listen: can be reached by others: listen on 127.0.0.1, or give open: true too if they may ask for health and metrics without a token"},
		{"listener on all", "lanes:", "embedded: {listen: ':4222'}\nlanes:",
			"weir.yaml:1:12: embedded.listen: must be a loopback address, such as 127.0.0.1:4222"},
		{"listener by a name", "lanes:", "admin: {listen: 'weir.example:8092'}\nlanes:",
			"weir.yaml:1:9: admin.listen: can be reached by others: listen on 127.0.0.1, or give open: true too if they may ask for health and metrics without a token"},
		{"listener without port", "lanes:", "admin: {listen: 127.0.0.1}\nlanes:",
			"weir.yaml:1:9: admin.listen: must be an address with a port, such as 127.0.0.1:8092"},
		{"listener with a bad port", "lanes:", "admin: {listen: '127.0.0.1:70000'}\nlanes:",
			"weir.yaml:1:9: admin.listen: must end in a port from 0 to 65535"},

		// The file.
		{"empty file", small, "", "weir.yaml: is empty"},
		{"empty document", small, "---\n", "weir.yaml:1:1: is empty: give it a value or leave it out"},
		{"list", small, "- a\n", "weir.yaml:1:1: must be a block of keys"},
		{"two documents", "lanes:", "lanes: []\n---\nlanes:", lines(
			"weir.yaml:1:1: lanes: must have at least one lane",
			"weir.yaml:2:1: a second document begins here: only one is read")},
		{"no YAML", "limit: 20", "limit: [", "weir.yaml:7: is not YAML: did not find expected node content"},
		{"a second document that is no YAML", "lanes:", "---\nadmin: {}\n---\n}\n---\nlanes:", lines(
			"weir.yaml:1:1: lanes: must have at least one lane",
			"weir.yaml:3: is not YAML: did not find expected node content")},
		{"an alias of nothing", "limit: 20", "limit: *sesame", "weir.yaml: is not YAML: unknown anchor '...' referenced"},
		{"too large", small, strings.Repeat("#", 1<<20+1), "weir.yaml: is larger than 1MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Parse("weir.yaml", []byte(edit(t, small, tc.old, tc.new)), environment)
			if err == nil {
				t.Fatalf("Parse: got %+v, want an error", cfg)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// A fault in an expression stands at the line of its text, however deep and
// under whatever key; what it says is package schema's.
func TestRouteFaultsStandAtTheirLine(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("weir.yaml", []byte(edit(t, small, "          toPhoneNumber: ${ data.phone }\n", `          toPhoneNumber: ${ data.phone + }
          dynamicVariables:
            first.name: ${ nonsense(data) }
            a: {b: {c: "${"}}
          list: [1, "${ 1 + }"]
          plain: 1
      - type: deal.created
        when: 1 +
        request: {a: b}
`)), environment)
	problems, _ := errors.AsType[config.Problems](err)
	var got []string
	for _, p := range problems {
		if p.Text == "" {
			t.Errorf("%s: got no text, want one", p.Path)
		}
		p.Text = ""
		got = append(got, p.Error())
	}
	want := []string{
		"weir.yaml:10:11: lanes[0].routes[0].request.toPhoneNumber: ",
		"weir.yaml:12:13: lanes[0].routes[0].request.dynamicVariables.first.name: ",
		"weir.yaml:13:21: lanes[0].routes[0].request.dynamicVariables.a.b.c: ",
		"weir.yaml:14:21: lanes[0].routes[0].request.list[1]: ",
		"weir.yaml:17:9: lanes[0].routes[1].when: ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

const twins = `accounts:
  - name: house
    provider: oration
    url: https://voice.example/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
lanes:
  - {name: north, account: house, routes: [{type: a, request: {a: b}}]}
  - name: south
    provider: oration
    url: https://voice.example/api/v2
    auth: {api_key: {env: KEY2}, workspace_id: {env: WORKSPACE}}
    routes: [{type: a, request: {a: b}}]
  - name: west
    provider: oration
    url: https://voice.example/api/v2
    auth: {bearer: {env: BEARER}}
    routes: [{type: a, request: {a: b}}]
`

// H15: two blocks for one workspace would double its limit.
func TestH15OneWorkspaceHasOneBlock(t *testing.T) {
	t.Parallel()
	const together = ", and together they would pass its limit: describe it once under accounts and let each lane name it"
	for _, tc := range []struct{ name, old, new, want string }{
		{"same workspace by another key", "", "",
			`weir.yaml:11:5: lanes[1].auth: lane "south" is the same workspace as account "house" on line 2` + together},
		{"same by another spelling of the host", "https://voice.example/api/v2\n    auth: {api_key: {env: KEY2}", "https://VOICE.example:443/api/v1/\n    auth: {api_key: {env: KEY2}",
			`weir.yaml:11:5: lanes[1].auth: lane "south" is the same workspace as account "house" on line 2` + together},
		{"same bearer", "{api_key: {env: KEY2}, workspace_id: {env: WORKSPACE}}", "{bearer: {env: BEARER}}",
			`weir.yaml:16:5: lanes[2].auth: lane "west" is the same workspace as lane "south" on line 8` + together},
		{"another workspace", "{api_key: {env: KEY2}, workspace_id: {env: WORKSPACE}}", "{api_key: {env: KEY}, workspace_id: {env: WORKSPACE2}}", ""},
		{"same workspace on another host", "https://voice.example/api/v2\n    auth: {api_key: {env: KEY2}", "https://www.voice.example/api/v2\n    auth: {api_key: {env: KEY2}",
			`weir.yaml:11:5: lanes[1].auth: lane "south" is the same workspace as account "house" on line 2` + together},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("weir.yaml", []byte(edit(t, twins, tc.old, tc.new)), environment)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesAreDistinct(t *testing.T) {
	t.Parallel()
	text := edit(t, twins, "workspace_id: {env: WORKSPACE}}\n    routes", "workspace_id: {env: WORKSPACE2}}\n    routes")
	for _, tc := range []struct{ name, old, new, want string }{
		{"two lanes", "name: west", "name: north", "weir.yaml:13:5: lanes[2].name: is already the name of lanes[0] on line 7"},
		{"a lane and an account", "name: west", "name: house", "weir.yaml:13:5: lanes[2].name: is already the name of accounts[0] on line 2"},
		{"a lane's weight", "account: house", "account: house, weight: 101", "weir.yaml:7:35: lanes[0].weight: must be between 1 and 100"},
		{"a long name is cut", "account: house", "limit: 1, account: " + strings.Repeat("a", 50), lines(
			`weir.yaml:2:5: accounts[0]: no lane names this account "house"`,
			`weir.yaml:7:19: lanes[0].limit: belongs to the account "`+strings.Repeat("a", 40)+`" that this lane names: give it there`,
			"weir.yaml:7:29: lanes[0].account: there is no account of that name under accounts")},
		{"an account without lanes", "account: house", "account: hose", lines(
			`weir.yaml:2:5: accounts[0]: no lane names this account "house"`,
			"weir.yaml:7:19: lanes[0].account: there is no account of that name under accounts")},
		{"a lane's key in an account", "- name: house", "- name: house\n    batch: 5", "weir.yaml:3:5: accounts[0].batch: belongs into a lane's block"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("weir.yaml", []byte(edit(t, text, tc.old, tc.new)), environment)
			if diff := cmp.Diff(tc.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllProblemsAreReportedInOrder(t *testing.T) {
	t.Parallel()
	text := "admin: {listen: 8092}\n" + edit(t, edit(t, edit(t, small,
		"limit: 20", "limit: 0"), "{env: KEY}", "{env: UNSET}"), "name: acme", "nam: acme")
	_, err := config.Parse("dir/weir.yaml", []byte(text), environment)
	want := lines(
		"dir/weir.yaml:1:9: admin.listen: must be text: put it in quotes",
		"dir/weir.yaml:3:5: lanes[0].nam: unknown key; did you mean name?",
		"dir/weir.yaml:3:5: lanes[0].name: is missing",
		"dir/weir.yaml:6:12: lanes[0].auth.api_key: environment variable UNSET is not set",
		"dir/weir.yaml:7:5: lanes[0].limit: must be between 1 and 10000",
	)
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	first, ok := errors.AsType[config.Problem](err)
	if wantFirst := (config.Problem{File: "dir/weir.yaml", Line: 1, Column: 9, Path: "admin.listen", Text: "must be text: put it in quotes"}); !ok || first != wantFirst {
		t.Errorf("first problem: got %+v, want %+v", first, wantFirst)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "unknown%d: 1\n", i)
	}
	_, err := config.Parse("weir.yaml", []byte(text.String()), environment)
	got, ok := errors.AsType[config.Problems](err)
	if !ok || len(got) != 101 {
		t.Fatalf("problems: got %d, want 101", len(got))
	}
	if want := "weir.yaml: and 4901 more problems"; got[100].Error() != want {
		t.Errorf("last: got %q, want %q", got[100].Error(), want)
	}
}

// Whatever is written where a secret belongs, no text repeats it.
func TestNoProblemRepeatsASecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, form := range []string{
		"hunter2", "*hunter2", "%hunter2", "@hunter2", "[hunter2]", "{hunter2}", "{hunter2: x}", "{env: hunter2}", "{env: [hunter2]}", "{env: {hunter2: 1}}",
		"{file: hunter2}", "{file: ./hunter2/x}", "{env: hunter2, file: hunter2}", "&hunter2 x", "!hunter2 x", "!!binary hunter2",
		"{env: &hunter2 KEY}", "{env: '${hunter2}'}", "{vault: hunter2}", "|\n      hunter2", "\"hunter2",
	} {
		for _, at := range []string{
			"lanes: [{auth: {api_key: %s}}]\n", "lanes: [{auth: {workspace_id: %s}}]\n", "lanes: [{auth: {bearer: %s}}]\n",
			"lanes: [{provider: anyreach, auth: {token: %s}}]\n", "lanes: [{provider: anyreach, auth: {organization: %s}}]\n",
			"lanes: [{provider: anyreach, auth: {api_key: %s}}]\n", "lanes: [{auth: {public_key: %s}}]\n", "lanes: [{auth: %s}]\n", "accounts: [{auth: {bearer: %s}}]\n",
			"broker: {token: %s}\n", "broker: {password: %s}\n", "embedded: {token: %s}\n", "embedded: %s\n",
			"broker: {url: 'nats://a:%s@b.example'}\n", "lanes: [{url: 'https://a:%s@b.example'}]\n",
			"lanes: [{url: 'https://b.example?key=%s'}]\n", "lanes: [{limit: %s}]\n",
		} {
			text := fmt.Sprintf(at, form)
			_, err := config.Parse("weir.yaml", []byte(text), environment)
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: got %v, want an error without the secret", text, err)
			}
		}
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), "\n")
	write(t, filepath.Join(dir, "lines"), "a\nb\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("a", 64<<10+1))
	write(t, filepath.Join(dir, "full"), strings.Repeat("a", 64<<10))
	if err := os.Symlink("full", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"empty": "the file that is named here is empty",
		"lines": "the value found there has a line break or another control character in it",
		"large": "the file that is named here is larger than 64 KiB",
		"full":  "", "link": "",
	} {
		file := filepath.Join(dir, "weir.yaml")
		_, err := config.Parse(file, []byte(edit(t, small, "{env: KEY}", "{file: "+name+"}")), environment)
		if want != "" {
			want = file + ":5:12: lanes[0].auth.api_key: " + want
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
