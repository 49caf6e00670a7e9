// Package console is what operators see in a browser: whether leads are called,
// why not, and what can be done. The server renders every page; nothing is needed
// to read one, or to act, but links and forms. Scripts of its own only keep a page
// that is open fresh.
//
// # Who comes in
//
// An operator signs in with a name and the console's token. The name goes with
// everything that is done, so it is asked for; the token alone decides. What is
// signed in is a cookie (HttpOnly, SameSite=Strict, Secure behind TLS) with a name
// and an end, sealed with a key that is made of the token: it is good on every
// replica that has the token, and a token that is taken away ends it everywhere.
// Signing out ends it on the process that was asked. Wrong tokens are counted by
// address and together, and then refused unread; those of a browser that has signed in
// within a month are counted apart, so that others' do not keep it out.
//
// # What holds for every page
//
//   - GET and HEAD change nothing. Acts are POST, from this origin alone
//     (http.CrossOriginProtection), with a body that is a form of at most 64 KiB
//     unless the page says more.
//   - The content security policy lets in nothing but our own style sheet and
//     scripts: a page has no script, style or handler of its own. What others
//     wrote, names, ids, a provider's words, is text to html/template wherever it
//     stands.
//   - A page that could not be read says why and what to do next, within the
//     layout, so that the others stay in reach.
//   - An act ends in a redirect (303) to a page that tells what was done, once.
//
// # How a page is made
//
// A page is an entry of [Console.pages] in a file of its own, with a template of
// the same name in templates/. What it reads and does is an interface declared in
// that file, a field of [Desks], implemented in cmd/weir; a page whose desk is
// nil is not there. The pieces:
//
//	entry      a path (of http.ServeMux, without a method), what GET shows, what POST does
//	view       what a template is to draw: its name, a title, data, crumbs
//	done       where to go after an act, and the word to say there
//	visit      the request, with Name of who asks; Form is bounded and parsed
//	step       an event as the visitor saw it: a form carries it, an act is refused if it moved on
//	act        who decides, and why: each form that changes something asks for a reason
//	Invalid    an error of a desk: what was typed is wrong; form.mark puts it at its field
//	refusal    an error that is the visitor's to mend: a status, words, what to do next
//	table      a table, or on a narrow screen a list of cards
//	form       fields with labels, help, and what was wrong with each
//
// Templates are parsed with layout.html, parts.html and those in parts_*.html.
// parts.html has the pieces: {{template "table" .}}, {{template "form" .}},
// {{template "notice" .}}, {{template "empty" "text"}}. A page whose view says Live
// has its changing part in a template "fresh", and draws it with
// {{template "live" .}}; no form that somebody may be filling in stands there. The
// script asks for the page's own address as an event stream, and gets that part
// again whenever it has changed. parts_pages.html has what pages of events, letters
// and doubts share.
//
// What may be personal, a number, an address, a text to search for, comes by POST
// even where nothing is changed: so it stands in no address, history or log. A number
// or address that was typed is never sent back.
//
// Times are shown by the server's zone with their offset, and by [since].
package console
