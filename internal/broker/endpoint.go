package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/weirhq/weir/schema"
)

const endpointFile = "endpoint.json"

// endpointFormat is the major version of endpoint. It rises only when an older Weir
// could no longer act rightly on what a newer one wrote.
const endpointFormat = 1

// endpoint is the stored form of endpoint.json, which says how the embedded
// broker of a directory is reached. It outlives restarts.
type endpoint struct {
	V        int    `json:"v"`
	URL      string `json:"url"`
	Token    string `json:"token"`
	MaxStore int64  `json:"max_store,omitzero"` // bytes; decided at the first start

	others map[string]json.RawMessage // members of a newer Weir's, which stay as they are
}

// ReadEndpoint returns where the embedded broker of a directory listens, and
// its token. A directory where none was ever started is an error that says so.
func ReadEndpoint(dir string) (url string, token schema.Secret, err error) {
	e, err := loadEndpoint(dir)
	if err != nil {
		return "", "", err
	}
	if e.URL == "" {
		return "", "", fmt.Errorf("no embedded broker was ever started in %s: start weir serve there, or name the right directory or broker", dir)
	}
	return e.URL, schema.Secret(e.Token), nil
}

// loadEndpoint reads endpoint.json; it is zero if there is none.
func loadEndpoint(dir string) (endpoint, error) {
	var e endpoint
	path := filepath.Join(dir, endpointFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("read the embedded broker's address: %w", err)
	}
	err = json.Unmarshal(data, &e)
	if err == nil {
		err = json.Unmarshal(data, &e.others)
	}
	if e.V > endpointFormat { // whatever else it has
		err = fmt.Errorf("a newer Weir wrote it (format %d, this one reads %d): run the newer one", e.V, endpointFormat)
	}
	if err != nil {
		return endpoint{}, fmt.Errorf("read the embedded broker's address: %s: %w", path, err)
	}
	return e, nil
}

// members are what is written: what is known, over what was there before.
func (e endpoint) members() (map[string]json.RawMessage, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(e.others)
	return all, json.Unmarshal(data, &all)
}

// save writes endpoint.json in one step, readable by its owner alone.
func (e endpoint) save(dir string) error {
	members, err := e.members()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(members, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, endpointFile+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the embedded broker's address: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the embedded broker's address: %w", err), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, endpointFile)); err != nil {
		return errors.Join(fmt.Errorf("write the embedded broker's address: %w", err), os.Remove(f.Name()))
	}
	return nil
}
