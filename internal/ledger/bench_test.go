package ledger_test

import "testing"

// BenchmarkClaim reads the entry of a new event and creates it: what each event waits
// for before its request. The broker syncs in the background; weir bench has figures
// of one that syncs each write.
func BenchmarkClaim(b *testing.B) {
	l, _ := fresh(b)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		if _, revision, err := l.Load(b.Context(), lane, key(n)); err != nil || revision != 0 {
			b.Fatalf("got revision %d, %v; want none", revision, err)
		}
		if _, err := l.Store(b.Context(), intent(n), 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads an entry.
func BenchmarkRead(b *testing.B) {
	l, _ := fresh(b)
	if _, err := l.Store(b.Context(), intent(1), 0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, revision, err := l.Load(b.Context(), lane, key(1)); err != nil || revision == 0 {
			b.Fatalf("got revision %d, %v; want one", revision, err)
		}
	}
}
