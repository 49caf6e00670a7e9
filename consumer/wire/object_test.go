package wire_test

import (
	"testing"

	"github.com/weirhq/weir/consumer/wire"
)

func TestText(t *testing.T) {
	t.Parallel()
	o := wire.AsObject([]byte(`{"a":"plain text","e":"","u":"é","n":12.50,"big":123456789012345678901,"esc":"a\"b\u00e9\\","null":null,"t":true,"o":{},"cut":"\ud83d"}`))
	for key, want := range map[string]string{
		"a": "plain text", "e": "", "u": "é", "n": "12.50", "big": "123456789012345678901", "esc": `a"bé\`, "null": "", "t": "", "o": "", "cut": "\uFFFD", "none": "",
	} {
		if got := o.Text(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}
