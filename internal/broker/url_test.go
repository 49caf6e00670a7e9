package broker_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
)

// A URL that can never work is refused at once, and not repeated: it may hold a
// password, however it is malformed.
func TestMalformedURL(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"nats://127.0.0.1:notaport", "nats://127.0.0.1:99999", "127.0.0.1:99999", "nats://127.0.0.1:1, nats://127.0.0.1:x",
		"nats://user:s3cret@127.0.0.1:x", "nats://user:s3cret@127.0.0.1:99999", "nats://user:s3cret/@127.0.0.1:1",
		"nats://user:%s3cret@127.0.0.1:1", "nats://user:s3cret,x@127.0.0.1:1", "user:s3cret@127.0.0.1:x",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var log bytes.Buffer
		_, err := broker.Connect(ctx, zerolog.New(&log), broker.Config{URL: bad})
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "malformed") {
			t.Errorf("connect to %s: got %v, want an error at once that says so", bad, err)
		}
		cancel()
		if text := log.String(); err != nil && strings.Contains(err.Error()+text, "s3") {
			t.Errorf("connect to %s: the password is in %v or %s", bad, err, text)
		}
	}
}

// Neither a password nor a token of a URL that works is told.
func TestURLWithCredentials(t *testing.T) {
	t.Parallel()
	for user, opts := range map[string]*server.Options{
		"user:s3cret": {Username: "user", Password: "s3cret"},
		"s3cret":      {Authorization: "s3cret"},
	} {
		opts.JetStream, opts.StoreDir = true, t.TempDir()
		url := plain(t, opts)
		_, host, _ := strings.Cut(url, "://")
		host = host[strings.LastIndex(host, "@")+1:]
		for _, given := range []string{user, "user:s3cret-and-wrong"} {
			var log bytes.Buffer
			b, err := broker.Connect(t.Context(), zerolog.New(&log), broker.Config{URL: "nats://" + given + "@" + host})
			if (err == nil) != (given == user) {
				t.Errorf("connect as %s: got %v", given, err)
			}
			if err != nil {
				log.WriteString(err.Error())
			} else {
				_ = b.Close(context.Background())
			}
			if text := log.String(); strings.Contains(text, "s3cret") || err == nil && !strings.Contains(text, host) {
				t.Errorf("connect as %s: got %s; want the address and no credentials", given, text)
			}
		}
	}
}
