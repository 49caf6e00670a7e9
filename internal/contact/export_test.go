package contact

import (
	"iter"
	"strconv"

	"github.com/nyaruka/phonenumbers"
)

// PrefixZones yields the zones of all prefixes of up to four digits.
func PrefixZones() iter.Seq2[int, []string] {
	return func(yield func(int, []string) bool) {
		for prefix := 1; prefix < 10_000; prefix++ {
			zones, err := phonenumbers.GetTimezonesForPrefix(strconv.Itoa(prefix))
			if err != nil || !yield(prefix, zones) {
				return
			}
		}
	}
}
