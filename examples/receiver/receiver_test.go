package receiver_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/examples/receiver"
)

// The example of the Standard Webhooks specification.
const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	id        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	body      = `{"test": 2432232314}`
	signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestVerify(t *testing.T) {
	t.Parallel()
	at := time.Unix(1614265330, 0)
	for name, tc := range map[string]struct {
		secret, body, signature string
		now                     time.Time
		want                    bool
	}{
		"the specification's":   {secret, body, signature, at, true},
		"the second of two":     {secret, body, "v1,AAAA " + signature, at, true},
		"another body":          {secret, body + " ", signature, at, false},
		"another secret":        {"whsec_AAAA", body, signature, at, false},
		"no signature":          {secret, body, "", at, false},
		"a later version":       {secret, body, "v2" + signature[2:], at, false},
		"an old one":            {secret, body, signature, at.Add(6 * time.Minute), false},
		"one of the future":     {secret, body, signature, at.Add(-6 * time.Minute), false},
		"a secret that is none": {"whsec_%", body, signature, at, false},
	} {
		header := http.Header{}
		header.Set("Webhook-Id", id)
		header.Set("Webhook-Timestamp", "1614265330")
		header.Set("Webhook-Signature", tc.signature)
		if err := receiver.Verify(tc.secret, header, []byte(tc.body), tc.now); (err == nil) != tc.want {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}
