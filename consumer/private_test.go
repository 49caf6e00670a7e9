package consumer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// What a provider repeats of a person is in no reason, wherever it is kept or told.
func TestAReasonNamesNobody(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ said, want string }{
		"a name":            {"cannot call Ada", "cannot call …"},
		"in other letters":  {"cannot call ADA now", "cannot call … now"},
		"two words":         {"Ada King is not known", "… … is not known"},
		"the whole name":    {"lead 'Byron of Ockham' is wrong", "lead '…' is wrong"},
		"part of a word":    {"Adana is a city, Adagio", "Adana is a city, Adagio"},
		"nested":            {"mail to Lovelace-House", "mail to …-House"},
		"not a person's":    {"the language Klingon is not spoken", "the language Klingon is not spoken"},
		"too short to look": {"no", "no"},
		"umlauts":           {"ist Zoë da?", "ist … da?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.leadWith("0001", map[string]any{
					"id": "0001", "phone": "+14155550001", "first_name": "Ada", "LastName": "King", "fullName": "Byron of Ockham",
					"contact": map[string]any{"house": []any{"Lovelace"}}, "language": "Klingon", "nickname": "no", "name2": "Zoë",
				})
				w.answer = always(consumer.VerdictRejected, tc.said, 422)
				p, l := w.listen(t, nil)
				time.Sleep(time.Minute)
				p.stop(t)
				if got := w.letters[key].Reason; got != tc.want {
					t.Errorf("the letter's reason: got %q, want %q", got, tc.want)
				}
				if got := l.attempted[0].Reason; got != tc.want {
					t.Errorf("what the observer is told: got %q, want %q", got, tc.want)
				}
				for _, ev := range w.outcomes {
					if tc.want != tc.said && strings.Contains(string(ev.Data()), tc.said) {
						t.Errorf("the outcome holds %q: %s", tc.said, ev.Data())
					}
				}
			})
		})
	}
}
