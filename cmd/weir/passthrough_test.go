package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/oration"
)

// What a passthrough may name is what the provider's own request has, and that has
// neither Weir's id nor the organization.
func TestPassthroughNamesTheProvidersOwnFields(t *testing.T) {
	t.Parallel()
	for provider, request := range map[string]reflect.Type{
		config.Oration:  reflect.TypeFor[oration.Request](),
		config.Anyreach: reflect.TypeFor[anyreach.Request](),
	} {
		var fields []string
		for f := range request.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, name)
		}
		slices.Sort(fields)
		if diff := cmp.Diff(fields, config.Passes(provider)); diff != "" {
			t.Errorf("%s (-its request +passthrough):\n%s", provider, diff)
		}
	}
}
