package ledger

import (
	"regexp"
	"strings"
	"testing"
)

// The names of lanes and the keys of intents are those that these say.
func TestAddress(t *testing.T) {
	t.Parallel()
	lanes := regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	keys := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	const lane, key = "acme-sales-0", "5f2f6e0e-5f3a-5d0b-9c53-1d8a2f8e7b11"
	check := func(lane, key string) {
		t.Helper()
		if got, want := isLane(lane), lanes.MatchString(lane); got != want {
			t.Errorf("lane %q: got %v, want %v", lane, got, want)
		}
		if got, want := isKey(key), keys.MatchString(key); got != want {
			t.Errorf("key %q: got %v, want %v", key, got, want)
		}
		got, err := addressOf(lane, key)
		if well := lanes.MatchString(lane) && keys.MatchString(key); well != (err == nil) || well && (got.String() != lane+"."+key || string(got) != "$KV.WEIR_LEDGER."+lane+"."+key) {
			t.Errorf("address of %q and %q: got %q, %v", lane, key, got, err)
		}
	}
	for n := range 40 {
		check(strings.Repeat("a", n), strings.Repeat("a", n))
	}
	for c := range 256 {
		for i := range key {
			check(lane[:i%len(lane)]+string([]byte{byte(c)})+lane[i%len(lane)+1:], key[:i]+string([]byte{byte(c)})+key[i+1:])
			check(lane+string(rune(c)), key[:i]+string(rune(c))+key[i:])
		}
		check(lane, key+string([]byte{byte(c)}))
	}
}
