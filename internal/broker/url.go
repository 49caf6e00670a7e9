package broker

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// checkURLs refuses servers' URLs, separated by commas, that can never be
// connected to. No text repeats any part of one: it may hold a password, and
// where that ends nobody knows if the URL is malformed.
func checkURLs(urls string) error {
	for i, text := range strings.Split(urls, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text // as the client library does
		}
		u, err := url.Parse(text)
		if err != nil {
			return fmt.Errorf("URL %d is malformed: it must be like nats://127.0.0.1:4222, with a number as its port, and other characters than letters and digits percent-encoded in a password", i+1)
		}
		if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil && u.Port() != "" {
			return fmt.Errorf("URL %d is malformed: its port must be 0 to 65535", i+1)
		}
	}
	return nil
}

// addresses returns servers' URLs without credentials. They were checked before.
func addresses(urls string) string {
	var out []string
	for text := range strings.SplitSeq(urls, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		if u, err := url.Parse(text); err == nil {
			out = append(out, (&url.URL{Scheme: u.Scheme, Host: u.Host}).String())
		}
	}
	return strings.Join(out, ", ")
}

// address returns the URL of the connected server without credentials. The
// client's own redaction leaves a token, which stands where a name does.
func address(nc *nats.Conn) string {
	u, err := url.Parse(nc.ConnectedUrlRedacted())
	if err != nil {
		return "" // it was parsed before
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}
