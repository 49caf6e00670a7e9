package delivery_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/delivery"
	"github.com/weirhq/weir/schema"
)

// The example of the Standard Webhooks specification.
const exampleSecret = schema.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

func key(t *testing.T, s schema.Secret) delivery.Key {
	t.Helper()
	k, err := delivery.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSign(t *testing.T) {
	t.Parallel()
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	first := key(t, exampleSecret)
	if got := delivery.Sign([]delivery.Key{first}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	second := key(t, schema.Secret("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 24))))
	both := delivery.Sign([]delivery.Key{second, first}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)
	if parts := strings.Split(both, " "); len(parts) != 2 || parts[1] != want || parts[0] == want {
		t.Errorf("two keys: got %s", both)
	}
	if got := fmt.Sprint(first); got != "[redacted]" {
		t.Errorf("a key prints as %s", got)
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, want := range map[string]bool{
		of(24): true, of(32): true, of(64): true, of(23): false, of(65): false,
		of(32)[6:]: false, "whsec_": false, "whsec_" + strings.Repeat("%", 40): false, of(32) + "=": false, "": false,
	} {
		if _, err := delivery.ParseKey(schema.Secret(text)); (err == nil) != want {
			t.Errorf("%q: got %v, want %v", text, err, want)
		} else if err != nil && strings.Contains(err.Error(), "%%%") {
			t.Errorf("%q: the error repeats the secret", text)
		}
	}
}
