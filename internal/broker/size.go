package broker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Sizes of the embedded store, in bytes.
const (
	fullStore  = 5 << 30 // the default rooms of the streams and of the ledger, and a fifth to spare
	leastStore = 256 << 20
	// memoryStore is for the consumers of scans.
	memoryStore = 64 << 20
)

// Room returns the rooms that fit into the store: of the streams, for Config,
// and of the ledger, in bytes. What is left of the last fifth is for schedules and
// replays, which have no limit of their own, and for the store itself.
func (e *Embedded) Room() (streams Room, ledger int64) {
	tenth := min(e.endpoint.MaxStore, fullStore) / 10
	return Room{Events: 4 * tenth, Outcomes: tenth, Dead: tenth, Contact: tenth / 4}, 2 * tenth
}

// storeSize decides how much the store may hold. It is decided once, since the
// streams' rooms follow from it. An existing store is given what its streams
// reserve at least: a server with less room than that refuses every change of a
// stream, even one that lowers its room.
func storeSize(cfg EmbeddedConfig, old endpoint) (int64, error) {
	reserved, others, err := reservedIn(os.DirFS(cfg.Dir))
	if err != nil {
		return 0, fmt.Errorf("read the store: %w", err)
	}
	if size := cmp.Or(cfg.MaxStore, old.MaxStore); size != 0 {
		if size < leastStore {
			return 0, fmt.Errorf("a store of %d MiB is too small: at least %d MiB are needed", size>>20, leastStore>>20)
		}
		return max(size, reserved), nil
	}
	free, err := freeSpace(cfg.Dir)
	if err != nil {
		return 0, fmt.Errorf("free disk space: %w", err)
	}
	return firstSize(free, reserved, others)
}

// firstSize is the store's size where none was written down: up to three
// quarters of the free space, or more where endpoint.json was lost. Beside what
// others have, Room gave away eight tenths of the size that it had, rounded down.
func firstSize(free, reserved, others int64) (int64, error) {
	former := (reserved-others)/8*10 + 9
	size := max(min(fullStore, free/4*3), former, reserved)
	if size < leastStore {
		return 0, fmt.Errorf("its disk has %d MiB free, and %d MiB are needed: free disk space, or choose a directory on another disk", free>>20, (leastStore/3*4)>>20+1)
	}
	return size, nil
}

// reservedIn returns how many bytes the streams of a store reserve, and of these the
// ones that an older Weir's store need not have, or has at another size. What cannot
// be understood is left out, as the server does.
func reservedIn(dir fs.FS) (sum, others int64, err error) {
	files, err := fs.Glob(dir, "jetstream/*/streams/*/meta.inf")
	if err != nil {
		return 0, 0, err
	}
	others = lanesRoom
	for _, file := range files {
		if strings.HasPrefix(path.Base(path.Dir(file)), ".") { // half deleted
			continue
		}
		data, err := fs.ReadFile(dir, file)
		if err != nil {
			return 0, 0, err
		}
		var stream struct {
			Name     string `json:"name"`
			Storage  string `json:"storage"`
			MaxBytes int64  `json:"max_bytes"`
		}
		if json.Unmarshal(data, &stream) == nil && stream.Storage == "file" {
			sum += max(0, stream.MaxBytes)
			if stream.Name == StreamContact {
				others += max(0, stream.MaxBytes)
			}
		}
	}
	return sum, others, nil
}
