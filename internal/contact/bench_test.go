package contact_test

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact"
	"github.com/weirhq/weir/schema"
)

// BenchmarkRule asks who may be contacted: of a lane without rules, and of one whose
// people are called by day.
func BenchmarkRule(b *testing.B) {
	day, err := contact.New(contact.Config{Windows: []contact.Window{every(9*60, 20*60)}})
	if err != nil {
		b.Fatal(err)
	}
	e, to := schema.NewReading(event.New()), consumer.Recipient{Channel: "telephone", Number: "+14155550101"}
	for name, rules := range map[string]consumer.Contact{"none": contact.Always{}, "window": day} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.Rule(e, to); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("window and number", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			number, err := day.Number("to", to.Number)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := day.Rule(e, consumer.Recipient{Channel: "telephone", Number: number}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
