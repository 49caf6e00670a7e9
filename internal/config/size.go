package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 262144, "256KiB" or "1MiB".
type Size int64

// The units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
)

// ParseSize reads a whole number of bytes, KiB or MiB.
func ParseSize(s string) (Size, error) {
	unit := Size(1)
	if rest, ok := strings.CutSuffix(s, "KiB"); ok {
		s, unit = rest, KiB
	} else if rest, ok := strings.CutSuffix(s, "MiB"); ok {
		s, unit = rest, MiB
	}
	// 31 bits: a product with MiB cannot overflow.
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("parse size: %w", err)
	}
	return Size(n) * unit, nil
}

// String returns the size in the largest unit that divides it.
func (s Size) String() string {
	switch {
	case s != 0 && s%MiB == 0:
		return strconv.FormatInt(int64(s/MiB), 10) + "MiB"
	case s != 0 && s%KiB == 0:
		return strconv.FormatInt(int64(s/KiB), 10) + "KiB"
	default:
		return strconv.FormatInt(int64(s), 10)
	}
}

// MarshalText returns what ParseSize reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
