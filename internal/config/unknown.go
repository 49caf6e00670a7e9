package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/schema"
)

var index = regexp.MustCompile(`\[\d+\]`)

// maxKey bounds a key, for keys are repeated in paths.
const maxKey = 128

// unknown reports a key that the block at path does not have. In a block that
// holds secrets the key is not repeated: somebody may have put the secret
// itself there.
func (d *decoder) unknown(path string, key *yaml.Node, fields map[string]reflect.Value) {
	at := path
	if !holdsSecret(fields) {
		at = join(path, key.Value)
	}
	text := "unknown key"
	if reason := elsewhere(index.ReplaceAllString(join(path, key.Value), "[]")); reason != "" {
		text = reason
	} else if near := nearest(key.Value, slices.Sorted(maps.Keys(fields))); near != "" {
		text += "; did you mean " + near + "?"
	}
	d.addAt(place{key.Line, key.Column}, at, "%s", text)
}

// elsewhere says of a key that has a meaning, though not here or not yet, what
// that is.
func elsewhere(path string) string {
	switch path {
	case "console", "events", "later", "dead",
		"lanes[].from":
		return "is not available in this version"
	case "lanes[].passthrough":
		return "belongs into a route"
	case "accounts[].label", "accounts[].weight", "accounts[].batch", "accounts[].doubt_limit",
		"accounts[].max_event", "accounts[].doubt", "accounts[].routes",
		"accounts[].attempts", "accounts[].allow_ignore_dnd", "accounts[].expire_after", "accounts[].join_token", "accounts[].send", "accounts[].webhook", "accounts[].crm", "accounts[].contact":
		return "belongs into a lane's block"
	case "broker.embedded":
		return "embedded is a key of its own, beside broker"
	default:
		return ""
	}
}

func holdsSecret(fields map[string]reflect.Value) bool {
	for _, f := range fields {
		if f.Type() == reflect.TypeFor[schema.Secret]() || f.Type() == reflect.TypeFor[Token]() {
			return true
		}
	}
	return false
}

// nearest returns the candidate that key is most likely a slip of, or "".
func nearest(key string, candidates []string) string {
	if len(key) > 32 {
		return ""
	}
	key = strings.ToLower(key)
	best, least := "", max(1, len(key)/3)+1
	for _, c := range candidates {
		if n := distance(key, c); n < least {
			best, least = c, n
		}
	}
	return best
}

// distance is the number of letters to insert, drop, replace or swap with
// their neighbour that make b out of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
