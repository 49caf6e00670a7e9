package providertest

import (
	"maps"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// prepareRecipient: who is contacted, by the prepared request, is who stands in the
// body that goes out. Nothing that looks like a number or an address of the
// request's recipient may be left out, for contact rules see nothing else.
func (h Harness) prepareRecipient(t *testing.T) {
	t.Parallel()
	x := h.answers(t, nil, creates)
	for i, r := range h.Requests {
		prepared := x.request(t, r)
		to, body := prepared.To, x.body(t, r, prepared)
		if to.Channel == "" || prepared.Channel != "" && prepared.Channel != to.Channel {
			t.Errorf("request %d: got the recipient's channel %q, want one, and %q if slots are counted by it", i, to.Channel, prepared.Channel)
		}
		for _, s := range []string{to.Number, to.Address} {
			if !strings.Contains(body, s) {
				t.Errorf("request %d: a number or address of the recipient is not in the body", i)
			}
		}
		if to.Number+to.Address != "" && to.Field == "" {
			t.Errorf("request %d: got no field of the recipient, want its name", i)
		}
		d, dials := x.Client.(consumer.Dialer)
		if dials {
			if field := d.Dials(r); field != "" && r[field] != nil {
				x.dialled(t, i, r, field)
			} else if to.Number != "" {
				t.Errorf("request %d: a number is called, and Dials does not name its field", i)
			}
		} else if to.Number != "" {
			t.Errorf("request %d: a number is called by a provider that is no Dialer", i)
		}
	}
}

// dialled puts another number into the field that Dials names.
func (x *subject) dialled(t *testing.T, i int, r map[string]any, field string) {
	t.Helper()
	const other = "+14155550187"
	changed := maps.Clone(r)
	changed[field] = other
	prepared := x.request(t, changed)
	if prepared.To.Number != other || prepared.To.Field != field {
		t.Errorf("request %d: got field %q with number %s, want %q with the one that stands there", i, prepared.To.Field, schema.MaskNumber(prepared.To.Number), field)
	}
	if prepared.Pair == x.request(t, r).Pair && prepared.Pair != "" {
		t.Errorf("request %d: got one pair for two numbers", i)
	}
	if body := x.body(t, changed, prepared); !strings.Contains(body, other) {
		t.Errorf("request %d: the number of the recipient is not in the body", i)
	}
}
