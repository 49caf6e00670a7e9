package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

const blockPrefix = "b."

// Block says that a person must not be contacted.
type Block struct {
	// Person is empty where the register has a key, and of an old entry.
	Person Person
	Hash   string // of the person, as it is in the key
	// Everywhere is why no lane may contact the person; nil: some lanes may.
	Everywhere *Act
	// Lanes is why some lanes may not.
	Lanes map[string]Act
	// Allowed is who took the last block away, if that was the last that happened.
	Allowed *Act
}

// Act is who decided something about a person, when and why.
type Act struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Source string    `json:"source,omitzero"` // where the wish was told, or the list is from
	At     time.Time `json:"at"`
}

// storedBlock is the stored form of a Block.
type storedBlock struct {
	V          int            `json:"v"`
	Person     Person         `json:"person,omitzero"`
	Everywhere *Act           `json:"everywhere,omitzero"`
	Lanes      map[string]Act `json:"lanes,omitzero"`
	Allowed    *Act           `json:"allowed,omitzero"`
}

// Bounds of what a block keeps.
const (
	maxField = 200
	maxLanes = 1000
)

// allowedKeep is how long it is remembered who took the last block away.
const allowedKeep = 90 * 24 * time.Hour

// bounded returns the act with its texts cut.
func (a Act) bounded() Act {
	a.By, a.Reason, a.Source = schema.Cut(a.By, maxField), schema.Cut(a.Reason, maxField), schema.Cut(a.Source, maxField)
	a.At = a.At.UTC().Truncate(time.Second)
	return a
}

// blocked reports whether the block forbids anything.
func (b Block) blocked() bool { return b.Everywhere != nil || len(b.Lanes) > 0 }

// Holds reports whether a lane must not contact the person.
func (b Block) Holds(lane string) bool { return b.forbids(lane) != "" }

// forbids says why a lane must not contact the person; empty if it may.
func (b Block) forbids(lane string) string {
	a, ok := b.Lanes[lane]
	where := "by this lane"
	if b.Everywhere != nil {
		a, ok, where = *b.Everywhere, true, "at all"
	}
	if !ok {
		return ""
	}
	why := fmt.Sprintf("This person must not be contacted %s: blocked on %s by %s", where, a.At.Format(time.DateOnly), schema.Mask(a.By))
	if a.Source != "" {
		why += " (source: " + schema.Mask(a.Source) + ")"
	}
	return why + ": " + schema.Mask(a.Reason)
}

// block reads a person's block.
func (r *Register) block(ctx context.Context, p Person) (Block, uint64, error) {
	b := Block{Hash: r.hash(string(p))}
	data, revision, err := r.store.Contact(ctx, blockPrefix+b.Hash)
	if err != nil || revision == 0 {
		return b, revision, err
	}
	b, err = readBlock(b.Hash, data)
	return b, revision, err
}

// errNewer is what this version must not change.
var errNewer = errors.New("a newer Weir wrote it")

// readBlock reads a stored block. One that somebody else removed is none that
// could be read: nobody said that the person may be contacted.
func readBlock(hash string, data []byte) (Block, error) {
	name := fmt.Sprintf("the block %s of WEIR_CONTACT", hash[:min(8, len(hash))])
	if data == nil {
		return Block{Hash: hash}, fmt.Errorf("%s was removed by another program than weir, so it is not known whether the person may be contacted; say weir contact allow, or block: it %w", name, errStrange)
	}
	var s storedBlock
	err := json.Unmarshal(data, &s)
	if s.V > metaFormat { // whatever else it has
		err = errNewer
	}
	if err != nil {
		return Block{Hash: hash}, fmt.Errorf("%s %w: %w", name, errStrange, err)
	}
	return Block{Person: s.Person, Hash: hash, Everywhere: s.Everywhere, Lanes: s.Lanes, Allowed: s.Allowed}, nil
}

// change reads, changes and writes a block until nobody comes between. What cannot
// be read is taken for nothing and written anew, except what a newer Weir wrote.
func (r *Register) change(ctx context.Context, p Person, edit func(b *Block, unread error) (changed bool, err error)) (Block, bool, error) {
	for {
		b, revision, unread := r.block(ctx, p)
		if unread != nil && (!errors.Is(unread, errStrange) || errors.Is(unread, errNewer)) {
			return b, false, unread
		}
		changed, err := edit(&b, unread)
		if err != nil || !changed && unread == nil {
			return b, false, err
		}
		if b.Person = p; r.cfg.Key != "" {
			b.Person = ""
		}
		err = r.store.StoreContact(ctx, blockPrefix+b.Hash, b.encode(), revision, b.keep())
		if !errors.Is(err, consumer.ErrConflict) {
			return b, err == nil, err
		}
	}
}

func (b Block) encode() []byte {
	data, err := json.Marshal(storedBlock{V: metaFormat, Person: b.Person, Everywhere: b.Everywhere, Lanes: b.Lanes, Allowed: b.Allowed})
	if err != nil {
		panic(err) // a programmer's mistake: all of it can be encoded
	}
	return data
}

// keep is how long the block is kept: for ever, if it is one.
func (b Block) keep() time.Duration {
	if b.blocked() {
		return 0
	}
	return allowedKeep
}

// Block forbids a lane, or with an empty name all lanes, to contact a person. It
// holds for each claim that begins after it returned. What holds already stays as
// it is, with its reason.
func (r *Register) Block(ctx context.Context, p Person, lane string, a Act) (changed bool, err error) {
	a = a.bounded()
	_, changed, err = r.change(ctx, p, func(b *Block, _ error) (bool, error) {
		b.Allowed = nil
		if lane == "" {
			old := b.Everywhere
			if old == nil {
				b.Everywhere = &a
			}
			return old == nil, nil
		}
		if _, ok := b.Lanes[lane]; ok {
			return false, nil
		}
		if len(b.Lanes) >= maxLanes {
			return false, fmt.Errorf("this person is blocked by %d lanes; block the person in all lanes instead", maxLanes)
		}
		if b.Lanes == nil {
			b.Lanes = make(map[string]Act)
		}
		b.Lanes[lane] = a
		return true, nil
	})
	return changed, err
}

// Allow takes back what Block forbade: with an empty name everything.
func (r *Register) Allow(ctx context.Context, p Person, lane string, a Act) (left Block, changed bool, err error) {
	a = a.bounded()
	return r.change(ctx, p, func(b *Block, unread error) (bool, error) {
		_, changed := b.Lanes[lane]
		if lane == "" {
			changed = b.blocked() || unread != nil
			b.Everywhere, b.Lanes = nil, nil
		}
		delete(b.Lanes, lane)
		if changed && !b.blocked() {
			b.Allowed = &a
		}
		if lane != "" && unread != nil { // what else it forbade nobody knows
			return false, unread
		}
		return changed, nil
	})
}

// Show returns what is known of a person.
func (r *Register) Show(ctx context.Context, p Person) (Block, error) {
	b, _, err := r.block(ctx, p)
	return b, err
}

// Blocks calls seen with each block that holds, and with what of one cannot be
// read, until that returns an error.
func (r *Register) Blocks(ctx context.Context, seen func(Block, error) error) error {
	return r.store.Contacts(ctx, blockPrefix, func(key string, data []byte) error {
		b, err := readBlock(key[len(blockPrefix):], data)
		if err == nil && !b.blocked() {
			return nil
		}
		return seen(b, err)
	})
}

// LaneNames returns the lanes that must not contact the person, sorted.
func (b Block) LaneNames() []string {
	names := make([]string, 0, len(b.Lanes))
	for name := range b.Lanes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
