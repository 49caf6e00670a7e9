package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// Stored is an outcome as it lies in WEIR_OUTCOMES.
type Stored struct {
	Sequence  uint64
	Published time.Time
	Kind      string // the last word of its subject
	Body      []byte // a CloudEvent as JSON
}

// parcel is what is posted of an outcome.
type parcel struct {
	id     string
	intent string
	header http.Header
	body   []byte
}

// pack makes of an outcome what is posted. It is the same each time.
func pack(body []byte) (parcel, error) {
	var ev event.Event
	if err := json.Unmarshal(body, &ev); err != nil {
		return parcel{}, fmt.Errorf("read the outcome: %w", err)
	}
	if ev.ID() == "" {
		return parcel{}, errors.New("read the outcome: it has no id")
	}
	attributes, data, err := schema.Encode(ev, schema.Binary)
	if err != nil {
		return parcel{}, err
	}
	p := parcel{id: ev.ID(), header: make(http.Header, len(attributes)+8), body: data}
	for name, values := range attributes {
		p.header[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	p.header.Del("Ce-Datacontenttype") // over HTTP it is the Content-Type
	p.header.Set("Content-Type", "application/json")
	var about struct {
		Intent string `json:"intent"`
	}
	_ = json.Unmarshal(data, &about) // without an intent it has no earlier one to wait for
	p.intent = about.Intent
	return p, nil
}
