package bench

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// TestTemplate records the writes of two events that cross, of which one is not seen
// to its end, and repeats those of the other for a third.
func TestTemplate(t *testing.T) {
	t.Parallel()
	write := func(subject, data string, header ...string) *nats.Msg {
		m := &nats.Msg{Subject: subject, Data: []byte(data), Header: nats.Header{}}
		for i := 0; i < len(header); i += 2 {
			m.Header.Set(header[i], header[i+1])
		}
		return m
	}
	r := &Recorder{came: make(chan *nats.Msg, 9)}
	r.came <- write("$KV.WEIR_LEDGER.bench-1.key-a", "claim a", headerExpect, "0")
	r.came <- write("$KV.WEIR_LEDGER.bench-2.key-b", "claim b", headerExpect, "0")
	r.came <- write("$KV.WEIR_LEDGER.bench-1.key-a", "made a", headerExpect, "17")
	r.came <- write("$KV.WEIR_LEDGER.bench-2.key-b", "made b", headerExpect, "18")
	r.came <- write("weir.outcomes.bench-1.created", `{"intent":"key-a"}`, headerID, "id-a", nats.ExpectedStreamHdr, "WEIR_OUTCOMES")
	got, err := r.Template()
	if err != nil || got.Len() != 3 {
		t.Fatalf("got %d writes, %v; want 3", got.Len(), err)
	}
	var lines []string
	for i := range got.Len() {
		m := got.message(i, "lane", "key", "id", fmt.Sprint(i))
		lines = append(lines, fmt.Sprintf("%s %s %q %q %q", m.Subject, m.Data, m.Header.Get(headerExpect), m.Header.Get(headerID), m.Header.Get(nats.ExpectedStreamHdr)))
	}
	want := []string{
		`$KV.WEIR_LEDGER.lane.key claim a "0" "" ""`,
		`$KV.WEIR_LEDGER.lane.key made a "1" "" ""`,
		`weir.outcomes.lane.created {"intent":"key-a"} "" "id" "WEIR_OUTCOMES"`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.writes[1].Header.Get(headerExpect) != "17" || got.writes[2].Header.Get(headerID) != "id-a" {
		t.Error("a copy changed the write that it is of")
	}
	if _, err := (&Recorder{came: make(chan *nats.Msg)}).Template(); err == nil {
		t.Error("of nothing: got nil, want an error")
	}
}
