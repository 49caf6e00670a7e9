package broker_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
)

// TestEndpointOfANewerVersion has what a newer version wrote beside the address: it
// stays. A newer format is left alone, and no broker is started over it.
func TestEndpointOfANewerVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "endpoint.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"v":1,"url":"nats://127.0.0.1:1","token":"chosen","peers":["a"]}`)
	e := embed(t, broker.EmbeddedConfig{Dir: dir})
	var got struct {
		URL, Token string
		Peers      []string
	}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &got) != nil || got.URL != e.URL() || got.Token != "chosen" || len(got.Peers) != 1 {
		t.Errorf("got %s, %v; want the new address, the old token and the member that is not known", data, err)
	}
	other := t.TempDir()
	path = filepath.Join(other, "endpoint.json")
	newer := `{"v":2,"at":"unix:/run/weir"}`
	write(newer)
	_, err = broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: other})
	if err == nil || !strings.Contains(err.Error(), "a newer Weir wrote it") {
		t.Errorf("start: got %v, want an error that says so", err)
	}
	if _, _, err := broker.ReadEndpoint(other); err == nil || !strings.Contains(err.Error(), "a newer Weir wrote it") {
		t.Errorf("read: got %v, want an error that says so", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != newer {
		t.Errorf("got %s, %v; want the file untouched", data, err)
	}
}
