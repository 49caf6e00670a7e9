package asyncapitest_test

import (
	"testing"

	"github.com/weirhq/weir/schema/asyncapitest"
)

func TestWeir(t *testing.T) {
	t.Parallel()
	asyncapitest.Load(t, "../weir.asyncapi.yaml")
}
