package contact_test

import (
	"testing"

	"github.com/weirhq/weir/internal/contact"
)

// TestPersonIsFound looks for people in data. Whom a note speaks of is not whom the
// event is of.
func TestPersonIsFound(t *testing.T) {
	t.Parallel()
	ana, bert, ada := contact.Reached("+14155550101"), contact.Reached("+491715550101"), contact.Reached("Ada@example.com")
	for _, tt := range []struct {
		name   string
		who    contact.Person
		data   string
		region string
		want   bool
	}{
		{"plain", ana, `{"phone":"+14155550101"}`, "", true},
		{"as people write it", ana, `{"phone":" +1 (415) 555-0101 "}`, "", true},
		{"as a link", ana, `{"phone":"tel:+1-415-555-0101"}`, "", true},
		{"with an extension", ana, `{"phone":"+14155550101 ext. 12"}`, "", true},
		{"with zeros before its country", ana, `{"phone":"001 415 555 0101"}`, "", true},
		{"without a plus", ana, `{"phone":"14155550101"}`, "", true},
		{"as a JSON number", ana, `{"phone":14155550101}`, "", true},
		{"in a list, deep", ana, `{"a":[{"b":{"c":["x","+14155550101"]}}]}`, "", true},
		{"of the region", bert, `{"phone":"0171 5550101"}`, "DE", true},
		{"of another region", bert, `{"phone":"0171 5550101"}`, "FR", false},
		{"of no region", bert, `{"phone":"0171 5550101"}`, "", false},
		{"the zero inside a country", bert, `{"phone":"+49 (0)171 5550101"}`, "", true},
		{"in a note", ana, `{"phone":"+14155550102","note":"referred by +14155550101"}`, "", false},
		{"one digit more", ana, `{"phone":"+141555501011"}`, "", false},
		{"another", ana, `{"phone":"+14155550102"}`, "", false},
		{"as a name", ana, `{"+14155550101":"phone"}`, "", false},
		{"no JSON", ana, `+14155550101`, "", false},
		{"none", ana, ``, "", false},
		{"address", ada, `{"email":"ADA@example.COM"}`, "", true},
		{"address with a name", ada, `{"email":"Ada Lovelace <ada@example.com>"}`, "", true},
		{"address as a link", ada, `{"email":"mailto:ada@example.com"}`, "", true},
		{"address in a note", ada, `{"note":"ask ada@example.com"}`, "", false},
		{"another's address", ada, `{"email":"xada@example.com"}`, "", false},
		{"lead", contact.Lead("4711"), `{"id":"4711"}`, "", true},
		{"lead with a numeric id", contact.Lead("4711"), `{"id":4711}`, "", true},
		{"lead with a long one", contact.Lead("90071992547409931"), `{"id":90071992547409931}`, "", true},
		{"another lead", contact.Lead("4711"), `{"id":"47110"}`, "", false},
		{"the id of something else", contact.Lead("4711"), `{"deal":{"id":"4711"}}`, "", false},
		{"lead in a list", contact.Lead("4711"), `[{"id":"4711"}]`, "", false},
		{"nobody", contact.Person{}, `{"id":"","phone":""}`, "", false},
		{"a lead without an id", contact.Lead(" "), `{"id":""}`, "", false},
	} {
		if got := tt.who.In([]byte(tt.data), tt.region); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
