package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// isCompressed is the answer to a compressed body: what it becomes when it is
// unpacked has no bound.
var isCompressed = problem{Status: http.StatusUnsupportedMediaType, Title: "Compressed", Detail: "Send the body as it is, without Content-Encoding."}

// compressed reports whether the body was changed on its way.
func compressed(r *http.Request) bool {
	for _, coding := range r.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// readBody reads a body of at most so many bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *problem) {
	long := &problem{
		Status: http.StatusRequestEntityTooLarge, Title: "Too long", Class: "too_large",
		Detail: fmt.Sprintf("The body is longer than %d bytes.", limit),
	}
	if r.ContentLength > limit { // before it is sent
		return nil, long
	}
	body, err := io.ReadAll(http.MaxBytesReader(plain(w), r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, long
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &problem{Status: http.StatusRequestTimeout, Title: "Too slow", Detail: "The body did not come in time."}
	}
	if err != nil {
		return nil, &problem{Status: http.StatusBadRequest, Title: "Cut short", Detail: "The body could not be read to its end."}
	}
	return body, nil
}
