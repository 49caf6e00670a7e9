package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthCmd is weir health.
type healthCmd struct {
	Alive   bool          `help:"Only ask whether the process answers, not whether it can store events."`
	Timeout time.Duration `default:"3s" help:"Give up after this long."`
}

// maxHealth bounds the answer: some thousand lanes.
const maxHealth = 4 << 20

// Run asks the process that runs with the same file, at its admin listener.
func (c *healthCmd) Run(a *app) error {
	cfg, err := a.blindConfig()
	if err != nil {
		return err
	}
	base, err := adminURL(cfg.Admin.Listen)
	if err != nil {
		return err
	}
	path, word := "/readyz", "ready"
	if c.Alive {
		path, word = "/healthz", "alive"
	}
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	told, err := askHealth(ctx, base+path)
	if err != nil && a.ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", a.ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("no answer from %s: %w; see that weir serve runs with this file", base+path, err)
	}
	healthy := told.Status == word
	err = a.print(told, func(w io.Writer) {
		if !healthy {
			return // the error says it all
		}
		fmt.Fprintln(w, word)
		for _, r := range told.Reasons {
			fmt.Fprintln(w, "but "+clean(r.String()))
		}
	})
	if !healthy {
		err = errors.Join(err, fmt.Errorf("not %s: %s", word, clean(told.Detail)))
	}
	return err
}

// adminURL is where a process on this machine listens.
func adminURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	switch {
	case listen == "" || err != nil:
		return "", errors.New("there is no listener to ask: set admin.listen in the configuration, such as 127.0.0.1:8092")
	case strings.Trim(port, "0") == "":
		return "", fmt.Errorf("admin.listen %s is a port that nobody knows: give it a number", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// askHealth reads one answer. A proxy of the environment's is not asked.
func askHealth(ctx context.Context, url string) (told readiness, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return told, err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return told, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return told, err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if (kind != "application/json" && kind != "application/problem+json") || json.Unmarshal(body, &told) != nil {
		return told, fmt.Errorf("it answers %s, and not as weir serve does", resp.Status)
	}
	return told, nil
}
