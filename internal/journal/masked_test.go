package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/journal"
	"github.com/weirhq/weir/schema"
)

// What schema.Mask would take out of a text is in no line, whatever wrote it, and all
// else of a line stays as it is.
func TestMaskedMasksEachText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "plain words", "+14155550123", "call +1 (415) 555-0123 now", "ana@example.com", "Ana <ana%40example.com>",
		"token: abcdefgh", "Authorization: Bearer abcdefghijkl", "nats://weir:hunter2hunter2@host:4222", "whsec_abcdefghijkl",
		"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7", "2026-11-21T10:00:00Z", "٠١٢٣٤٥٦٧٨", "quo\"ted +14155550123 \\ back", "eyJhbGciOi.eyJzdWIi.c2ln",
		"SUAABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZAB", "-----BEGIN KEY-----abc-----END KEY-----", "line\nbreak 4155550123", "AKIAABCDEFGHIJKLMN",
	} {
		var b bytes.Buffer
		lg := zerolog.New(journal.Masked(&b))
		lg.Error().Err(errors.New(text)).Int("14155550123", 14155550123).Strs("list", []string{text, "x"}).Dict("in", zerolog.Dict().Str("t", text)).Msg(text)
		var got struct {
			Error   string
			Message string
			List    []string
			In      struct{ T string }
			Number  int64 `json:"14155550123"`
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%q: the line is no JSON: %v\n%s", text, err, b.String())
		}
		want := schema.Mask(text)
		if got.Error != want || got.Message != want || got.In.T != want || len(got.List) != 2 || got.List[0] != want || got.List[1] != "x" || got.Number != 14155550123 {
			t.Errorf("%q: got %+v, want %q in each place", text, got, want)
		}
		if !strings.HasSuffix(b.String(), "\n") {
			t.Errorf("%q: the line's end is missing", text)
		}
	}
}

func FuzzMasked(f *testing.F) {
	f.Add("+14155550123")
	f.Add("0@00")
	f.Add("a\"b\\ ana@example.com")
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		lg := zerolog.New(journal.Masked(&b))
		lg.Log().Str("text", text).Msg("m")
		var got struct{ Text, Message string }
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Message != "m" {
			t.Fatalf("%q: got %s (%v)", text, b.String(), err)
		}
		text = strings.ToValidUTF8(text, "\ufffd")
		if want := schema.Mask(text); got.Text != want && got.Text != schema.Mask(got.Text) {
			t.Errorf("%q: got %q, want %q", text, got.Text, want)
		}
	})
}

func BenchmarkMasked(b *testing.B) {
	line := []byte(`{"level":"info","account":"acme","lane":"acme-sales","intent":"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7","event_id":"lead-4711","event_source":"/crm","event_type":"lead.created","attempt":1,"verdict":"created","state":"created","conversation":"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a8","status":201,"time":"2026-11-21T10:00:00Z","message":"attempt"}`)
	w := journal.Masked(discard{})
	for b.Loop() {
		_, _ = w.Write(line)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
