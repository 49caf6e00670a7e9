package ledger_test

import (
	"testing"

	"github.com/weirhq/weir/internal/ledger"
)

// A start of thousands of lanes reads the ledger with as many consumers; newer
// servers allow 1,000 unless the stream says otherwise.
func TestTheLedgerMayHaveManyReaders(t *testing.T) {
	t.Parallel()
	_, js := fresh(t)
	s, err := js.Stream(t.Context(), ledger.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().Config.MaxConsumers; n < 20_000 {
		t.Errorf("max_consumers is %d", n)
	}
}
