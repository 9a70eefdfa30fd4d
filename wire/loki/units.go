package loki

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// unit is a unit of a Prometheus duration.
type unit struct {
	name string
	size time.Duration
}

// units of a duration, the largest first, in which order they must stand. A day is 24 hours, a year 365 days.
var units = [...]unit{
	{"y", 365 * 24 * time.Hour}, {"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour},
	{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

var errDuration = fmt.Errorf("%w duration: expected one such as 30s, 5m, 1h30m, 1d or 1w, and no longer than 292 years", logbridge.ErrInvalid)

// ParseDuration reads a duration as Prometheus and Loki write it, without a sign: 1d, 2h30m, 10ms, 1w. 0 needs no unit. The
// error wraps logbridge.ErrInvalid.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	var total time.Duration
	next := 0
	for rest := s; rest != "" || s == ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, errDuration
		}
		rest = rest[digits:]
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "ywdhms"))]
		for next < len(units) && units[next].name != name {
			next++
		}
		if next == len(units) {
			return 0, errDuration
		}
		size := units[next].size
		if n > int64(math.MaxInt64-total)/int64(size) {
			return 0, errDuration
		}
		total += time.Duration(n) * size
		rest = rest[len(name):]
		next++
	}
	return total, nil
}

// parseQuantity reads a duration of a label filter: as Prometheus writes it, or as Go does (1.5s, 10us).
func parseQuantity(s string) (time.Duration, error) {
	if d, err := ParseDuration(s); err == nil {
		return d, nil
	}
	return time.ParseDuration(s)
}

// formatDuration writes a duration so that parseQuantity reads the same again: a negative one as Go does, since Prometheus has none.
func formatDuration(d time.Duration) string {
	if d%time.Millisecond != 0 || d <= 0 {
		return d.String()
	}
	var b strings.Builder
	for i, u := range units {
		// Weeks and years only when nothing else is left: 10d is clearer than 1w3d.
		if n := d / u.size; n > 0 && (i > 1 || d%u.size == 0) {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d %= u.size
		}
	}
	return b.String()
}

// byteUnits are the units of a size. Those of the decimal and the binary kind are told apart by the i alone; case does not
// matter.
var byteUnits = [...]struct {
	name string
	size float64
}{
	{"", 1}, {"b", 1}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"pb", 1e15}, {"eb", 1e18},
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40}, {"pib", 1 << 50}, {"eib", 1 << 60},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"p", 1e15}, {"e", 1e18},
	{"ki", 1 << 10}, {"mi", 1 << 20}, {"gi", 1 << 30}, {"ti", 1 << 40}, {"pi", 1 << 50}, {"ei", 1 << 60},
}

// parseBytes reads a number of bytes: 512, 1KB, 1.5 MiB, 1,024.
func parseBytes(s string) (uint64, error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789.,"))
	n, err := strconv.ParseFloat(strings.ReplaceAll(s[:digits], ",", ""), 64)
	if err != nil {
		return 0, errors.New("not a number of bytes")
	}
	name := strings.ToLower(strings.TrimSpace(s[digits:]))
	for _, u := range byteUnits {
		if u.name != name {
			continue
		}
		if n *= u.size; n >= math.MaxUint64 {
			return 0, errors.New("too large a number of bytes")
		}
		return uint64(n), nil
	}
	return 0, errors.New("not a unit of bytes")
}

// formatBytes writes a number of bytes so that parseBytes reads the same again.
func formatBytes(n uint64) string {
	for _, u := range [...]struct {
		name string
		size uint64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}} {
		if n > 0 && n%u.size == 0 {
			return strconv.FormatUint(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatUint(n, 10) + "B"
}
