package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The file has two slots, which are written in turn and in place: a write that
// is torn by a crash leaves the other slot, and none needs more room on the
// disk. A slot is its length and a checksum, each of four bytes, and the mark as
// JSON.
const (
	slotSize = 4096
	slotHead = 8
)

var checksums = crc32.MakeTable(crc32.Castagnoli)

// file is the mark's place beside the store. One goroutine at a time uses it.
type file struct {
	f    *os.File
	next int64 // the slot that is written next
}

// openFile opens the file, which is made if it is missing, and returns the
// newest mark in it, nil if there is none.
func openFile(path string) (*file, *mark, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = makeFile(path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the mark's file: %w", err)
	}
	t := &file{f: f}
	m, err := t.read(path)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return t, m, nil
}

// makeFile makes an empty file in one step, readable by its owner alone.
func makeFile(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = f.Write(make([]byte, 2*slotSize))
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err := syncDir(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// read returns the newest mark that is whole. One that a newer Weir wrote is an
// error.
func (t *file) read(path string) (*mark, error) {
	data := make([]byte, 2*slotSize)
	if _, err := t.f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the mark's file: %w", err)
	}
	var newest *mark
	for slot := range int64(2) {
		text := slotText(data[slot*slotSize:][:slotSize])
		if text == nil {
			continue
		}
		m, err := decodeMark(path, text)
		if err != nil {
			return nil, err
		}
		if newest == nil || m.Serial > newest.Serial {
			newest, t.next = &m, 1-slot
		}
	}
	return newest, nil
}

// slotText returns what a slot holds, nil if it holds nothing or is torn.
func slotText(slot []byte) []byte {
	n := binary.BigEndian.Uint32(slot)
	if n == 0 || n > slotSize-slotHead {
		return nil
	}
	text := slot[slotHead:][:n]
	if crc32.Checksum(text, checksums) != binary.BigEndian.Uint32(slot[4:]) {
		return nil
	}
	return bytes.Clone(text)
}

// write stores a mark; it is on the disk when write returns nil.
func (t *file) write(m mark) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	if len(text) > slotSize-slotHead {
		return fmt.Errorf("the mark's file: %d bytes do not fit", len(text))
	}
	slot := make([]byte, slotHead+len(text))
	binary.BigEndian.PutUint32(slot, uint32(len(text))) //nolint:gosec // a slot is short
	binary.BigEndian.PutUint32(slot[4:], crc32.Checksum(text, checksums))
	copy(slot[slotHead:], text)
	if _, err := t.f.WriteAt(slot, t.next*slotSize); err != nil {
		return fmt.Errorf("the mark's file: %w", err)
	}
	if err := t.f.Sync(); err != nil {
		return fmt.Errorf("the mark's file: %w", err)
	}
	t.next = 1 - t.next
	return nil
}

func (t *file) close() error { return t.f.Close() }
