package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// handshake answers the validation request of CloudEvents webhooks (HTTP 1.1 Web
// Hooks for Event Delivery, section 4): a system may send here if it shows a token,
// or if a publisher of the lane names it as an origin. It is told so by a header;
// without one, the answer is no consent. Nothing calls back.
func (d *door) handshake(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Allow", methods)
	h.Set("Vary", "Authorization, WebHook-Request-Origin")
	origin := r.Header.Get("WebHook-Request-Origin")
	if p := d.host(r, origin); p != nil {
		h.Set("WebHook-Allowed-Origin", origin)
		h.Set("WebHook-Allowed-Rate", strconv.Itoa(allowedRate(r.Header.Get("WebHook-Request-Rate"), p.Rate*60)))
	}
	w.WriteHeader(http.StatusNoContent)
}

// host returns the publisher as whom an origin may send to the request's address.
func (d *door) host(r *http.Request, origin string) *publisher {
	if origin == "" || len(r.Header.Values("WebHook-Request-Origin")) > 1 {
		return nil
	}
	feeds := func(p *publisher) bool {
		lane := r.PathValue("name")
		return lane == "" || p.feeds(lane)
	}
	if p, _ := d.who(r); p != nil && feeds(p) {
		return p
	}
	for _, p := range d.publishers {
		if feeds(p) && slices.ContainsFunc(p.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
			return p
		}
	}
	return nil
}

// allowedRate is how many requests a minute are granted of those asked for.
func allowedRate(asked string, most int) int {
	if n, err := strconv.Atoi(asked); err == nil && n > 0 {
		return min(n, most)
	}
	return most
}
