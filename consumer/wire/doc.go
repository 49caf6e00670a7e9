// Package wire is what every client of a provider's HTTP API needs: a POST that
// is sent at most once, a GET, and the provider's words made fit to be shown. A
// client adds the request, the paths and the one pure function that judges an
// answer.
//
// # Once
//
// [Client.Post] repeats nothing: no redirect is followed, the request has no
// GetBody, HTTP/2 is off, and a connection was just dialled or has been idle for
// at most two seconds. A gate in the connection itself, above TLS, asks for
// permission before the first byte and knows afterwards whether one was written:
// [Exchange.Written] is false only if none was and none ever will be.
//
// # Words
//
// A provider may repeat the credentials and the personal data that it was sent.
// [Censor] takes the client's own secrets out of its words, however they are
// spelled, masks numbers and addresses and bounds the length.
package wire
