package schema_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirhq/weir/schema"
)

func TestMask(t *testing.T) {
	t.Parallel()
	jwt := "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxIn0.c2lnbmF0dXJl"
	key := "sk" + "_live_" + strings.Repeat("aB3", 8)
	seed := "SU" + strings.Repeat("AB", 28)
	tests := []struct{ in, want string }{
		{"", ""},
		{"nothing to hide", "nothing to hide"},
		{"+4915112345678", "…78"},
		{"call +49 151 1234-5678 now", "call …78 now"},
		{"(0151) 123 45 67", "…67"},
		{"0151/1234567", "…67"},
		{"+1 (415) 555-0100.", "…00."},
		{"555-0100", "…00"},
		{"tel:+14155550100;x", "tel:…00;x"},
		{"toPhoneNumber=4155550145", "toPhoneNumber=…45"},
		{"p4155550145q", "p…45q"},
		{`{"phone":"+4915112345678","n":1}`, `{"phone":"…78","n":1}`},
		{"+4915112345678, +4915112345679", "…78, …79"},
		{"٠١٢٣٤٥٦٧٨", "…٧٨"},
		{"＋４９１５１１２３４５６７８", "…７８"},
		{"+49\u00a0151\u20111234567", "…67"},
		{"status 429 after 3 of 20", "status 429 after 3 of 20"},
		{"123456", "123456"},
		{"at 2026-01-31T09:30:00.123456789Z and 2026-01-31 09:30:00 or 2026-01-31", "at 2026-01-31T09:30:00.123456789Z and 2026-01-31 09:30:00 or 2026-01-31"},
		{"+49 151 2026-01-31", "…31"},
		{"2026-01-31 4567890", "…90"},
		{"id 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7 and 11111111-2222-3333-4444-555555555555", "id 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7 and 11111111-2222-3333-4444-555555555555"},
		{"11111111-2222-3333-4444-5555555555556", "…56"},

		{"anna@example.com", "…@example.com"},
		{"Anna <anna.b+c@mail.example.com>, x@y.example", "Anna <…@mail.example.com>, …@y.example"},
		{"email=zoë@exämple.de", "email=…@exämple.de"},
		{`"anna b"@example.com`, "…@example.com"},
		{"to=anna%40example.com&x", "to=…@example.com&x"},
		{`{"email":"a@b.example"}`, `{"email":"…@b.example"}`},
		{"4915112345678@example.com", "…@example.com"},

		{"Authorization: Bearer abc.def-123", "Authorization: [redacted]"},
		{"sent Bearer abcdefgh1234 today", "sent Bearer [redacted] today"},
		{"the bearer of bad news", "the bearer of bad news"},
		{"x-api-key: k123", "x-api-key: [redacted]"},
		{"API key = k123, ok", "API key = [redacted], ok"},
		{`{"api_key":"k123","n":1}`, `{"api_key":"[redacted]","n":1}`},
		{`{\"token\":\"k123\"}`, `{\"token\":\"[redacted]\"}`},
		{"client_secret=k123&password=p&x=1", "client_secret=[redacted]&password=[redacted]&x=1"},
		{"got " + jwt + " back", "got [redacted] back"},
		{"got " + key + " back", "got [redacted] back"},
		{"seed " + seed, "seed [redacted]"},
		{"nats://user:hunter2@127.0.0.1:4222", "nats://user:[redacted]@127.0.0.1:4222"},
		{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\nx", "[redacted]\nx"},
	}
	for _, tt := range tests {
		if got := schema.Mask(tt.in); got != tt.want {
			t.Errorf("Mask(%q): got %q, want %q", tt.in, got, tt.want)
		}
		if got := schema.Mask(tt.want); got != tt.want {
			t.Errorf("Mask(%q): got %q, want what is masked to stay", tt.want, got)
		}
	}
}

func TestMaskNumber(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", ""},
		{"+4915112345645", "…45"},
		{"(0151) 123-45", "…45"},
		{"12345", "…45"},
		{"1234", "…"},
		{"anna", "…"},
		{"+", "…"},
		{"٠١٢٣٤٥٦٧٨", "…٧٨"},
	}
	for _, tt := range tests {
		if got := schema.MaskNumber(tt.in); got != tt.want {
			t.Errorf("MaskNumber(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Wherever a number or an address stands, it does not survive.
func TestMaskAnywhere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.StringOf(rapid.RuneFrom([]rune("ab \"':=,;@.\\/{}<>…\n[]")))
		secret := rapid.SampledFrom([]string{"+4915112345678", "0151 1234 5678", "annabell.schmidt@example.com"}).Draw(rt, "secret")
		in := words.Draw(rt, "before") + secret + words.Draw(rt, "after")
		got := schema.Mask(in)
		if strings.Contains(got, "12345678") || strings.Contains(got, "1234 5678") || strings.Contains(got, "annabell") {
			rt.Errorf("Mask(%q): got %q, want %q hidden", in, got, secret)
		}
	})
}

// No pattern takes anything out of what Mask leaves alone at once.
func TestMaskLeavesWordsAlone(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	begins := []string{"", "sk_", "pk_", "ak_", "tok_", "pat_", "whsec_", "ghp_", "xoxb_", "github_pat_", "AKIA", "SA", "eyJ", "token", "secret_", "bearer", "api_key"}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	for range 20_000 {
		b := []byte(begins[r.IntN(len(begins))])
		for range r.IntN(14) {
			b = append(b, letters[r.IntN(len(letters))])
		}
		s := string(b)
		if got, want := schema.Mask(s), schema.MaskByPatterns(s); got != want {
			t.Fatalf("%s: got %s, want %s", s, got, want)
		}
	}
}
