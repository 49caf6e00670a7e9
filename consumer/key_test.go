package consumer_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
)

// Keys are in every ledger: they are those that uuid.NewSHA1 makes, whatever the
// lengths of what they are made of.
func TestKey(t *testing.T) {
	t.Parallel()
	if got, want := consumer.Key("acme-sales", "/crm", "1"), uuidOf("acme-sales\n/crm\n1"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for n := range 600 {
		source, id := strings.Repeat("/ä", n), strings.Repeat("7", n%5)
		if got, want := consumer.Key("l", source, id), uuidOf("l\n"+source+"\n"+id); got != want {
			t.Errorf("a source of %d bytes: got %s, want %s", len(source), got, want)
		}
		if got, want := consumer.ConflictKey(source, id), uuidOf(source+"\n"+id); got != want {
			t.Errorf("the key of another content: got %s, want %s", got, want)
		}
	}
}

// uuidOf is the library's UUID of a name in Weir's namespace.
func uuidOf(name string) string {
	return uuid.NewSHA1(uuid.MustParse("5f2f6e0e-5f3a-5d0b-9c53-1d8a2f8e7b11"), []byte(name)).String()
}
