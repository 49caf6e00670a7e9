package schema_test

import (
	"testing"

	"github.com/weirhq/weir/schema"
)

// The parts of BenchmarkPipeline, each by itself: the event is parsed anew for each.
func BenchmarkDecode(b *testing.B) {
	body := []byte(with(`,"data":` + person))
	b.Run("structured", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := schema.Decode(structured, body, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("binary", func(b *testing.B) {
		header := binary()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := schema.Decode(header, []byte(person), 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDigest(b *testing.B) {
	e := leadEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		schema.Digest(e)
	}
}

func BenchmarkCheck(b *testing.B) {
	catalog, e := schema.NewCatalog(), leadEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := catalog.Check(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	e := leadEvent(b)
	routes := compile(b, schema.RouteSource{Type: "lead.*", When: "has(data.phone)", Request: map[string]any{
		"toPhoneNumber": "${ data.phone }", "dynamicVariables": map[string]any{"firstName": "${ data.first_name ?? 'there' }"},
	}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := routes.Choose(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := leadEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := schema.Encode(e, schema.Structured); err != nil {
			b.Fatal(err)
		}
	}
}
