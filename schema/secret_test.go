package schema_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/schema"
)

const hidden = "hunter2"

// holder has a secret in every kind of place.
type holder struct {
	Key   schema.Secret            `json:"key" yaml:"key"`
	Ptr   *schema.Secret           `json:"ptr" yaml:"ptr"`
	List  []schema.Secret          `json:"list" yaml:"list"`
	Named map[string]schema.Secret `json:"named" yaml:"named"`
}

func newHolder() holder {
	s := schema.Secret(hidden)
	return holder{s, &s, []schema.Secret{s}, map[string]schema.Secret{"a": s}}
}

func TestSecretShowsNothing(t *testing.T) {
	t.Parallel()
	h := newHolder()
	shown := map[string]string{}
	for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "t", "10s", "T"} {
		shown["fmt %"+verb] = fmt.Sprintf("%"+verb, h.Key)
		shown["fmt of a struct %"+verb] = fmt.Sprintf("%"+verb, h)
	}
	shown["error"] = fmt.Errorf("bad key %s: %w", h.Key, errors.New("x")).Error()
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	shown["json"] = string(b)
	if b, err = yaml.Marshal(h); err != nil {
		t.Fatal(err)
	}
	shown["yaml"] = string(b)
	if b, err = xml.Marshal(h.Key); err != nil {
		t.Fatal(err)
	}
	shown["xml"] = string(b)
	var buf bytes.Buffer
	lg := zerolog.New(&buf)
	lg.Info().Interface("holder", h).Any("key", h.Key).Stringer("text", h.Key).Str("fmt", fmt.Sprint(h)).Msg(h.Key.String())
	slog.New(slog.NewJSONHandler(&buf, nil)).Info("x", "key", h.Key, "holder", h)
	slog.New(slog.NewTextHandler(&buf, nil)).Info("x", "key", h.Key, "holder", h)
	shown["logs"] = buf.String()

	for name, text := range shown {
		if strings.Contains(text, hidden) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s: got %q, want the secret hidden", name, text)
		}
		if !strings.Contains(text, "[redacted]") && !strings.HasSuffix(name, "%T") {
			t.Errorf("%s: got %q, want [redacted]", name, text)
		}
	}
}

func TestSecretIsRead(t *testing.T) {
	t.Parallel()
	var fromJSON, fromYAML holder
	if err := json.Unmarshal([]byte(`{"key":"hunter2"}`), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte("key: hunter2"), &fromYAML); err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]holder{"json": fromJSON, "yaml": fromYAML} {
		if got := h.Key.Reveal(); got != hidden {
			t.Errorf("%s: got %q, want %q", name, got, hidden)
		}
	}
}
