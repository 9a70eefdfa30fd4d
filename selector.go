package logbridge

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a selector. Every node holds every rule in memory and matches it against devices while they wait.
const (
	maxGlob        = 128 // bytes; a device name has 48
	maxSelectTags  = 32  // a device has no more
	maxSelectKey   = 64  // bytes
	maxSelectValue = 256 // bytes
)

// Slots is how many parts a fleet is divided into for percentages: a slot is a hundredth of a percent.
const Slots = 10_000

// LevelSelector says which devices a rule is about: those that meet all that it names. At least one thing is named.
type LevelSelector struct {
	// Product is the product's id; empty is every product.
	Product string
	// DeviceGlob is a pattern of path.Match for the device name; empty is every name.
	DeviceGlob string
	// Tags are those that the device has, all of them, with these values.
	Tags map[string]string
	// Percent of the devices, 0.01 to 100 in steps of 0.01, by Slot; 0 is not said, and all.
	Percent float64
}

// Validate checks each part; ErrInvalid says what is wrong.
func (s LevelSelector) Validate() error {
	if s.Product == "" && s.DeviceGlob == "" && len(s.Tags) == 0 && s.Percent == 0 {
		return fmt.Errorf("%w: a selector names a product, a device_glob, tags or a percent; for everyone set the base level", ErrInvalid)
	}
	if s.Product != "" {
		if err := ValidateProductID(s.Product); err != nil {
			return err
		}
	}
	if _, err := path.Match(s.DeviceGlob, ""); err != nil || len(s.DeviceGlob) > maxGlob || strings.ContainsFunc(s.DeviceGlob, control) {
		return fmt.Errorf("%w: device_glob %q is not a pattern of at most %d bytes, such as dev-0*", ErrInvalid, clip(s.DeviceGlob), maxGlob)
	}
	if len(s.Tags) > maxSelectTags {
		return fmt.Errorf("%w: %d tags, %d are the most", ErrInvalid, len(s.Tags), maxSelectTags)
	}
	for k, v := range s.Tags {
		if k == "" || len(k) > maxSelectKey || len(v) > maxSelectValue || strings.ContainsFunc(k+v, control) {
			return fmt.Errorf("%w: tag %q is not a key of 1 to %d bytes with a value of at most %d", ErrInvalid, clip(k), maxSelectKey, maxSelectValue)
		}
	}
	steps := s.Percent * Slots / 100
	if !(s.Percent >= 0 && s.Percent <= 100) || math.Abs(steps-math.Round(steps)) > 1e-6 {
		return fmt.Errorf("%w: percent %v is not 0.01 to 100 in steps of 0.01", ErrInvalid, s.Percent)
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// Whole reports whether the selector means a product as a whole, narrowed by nothing.
func (s LevelSelector) Whole() bool {
	return s.DeviceGlob == "" && len(s.Tags) == 0 && s.Percent == 0
}

// String is the selector on one line, for people and for the audit stream.
func (s LevelSelector) String() string {
	var parts []string
	if s.Product != "" {
		parts = append(parts, "product="+s.Product)
	}
	if s.DeviceGlob != "" {
		parts = append(parts, "glob="+s.DeviceGlob)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		parts = append(parts, "tag:"+k+"="+s.Tags[k])
	}
	if s.Percent != 0 {
		parts = append(parts, "percent="+strconv.FormatFloat(s.Percent, 'f', -1, 64))
	}
	return strings.Join(parts, " ")
}

// Slot is where the device stands in every percentage: a rule for p percent is for the devices whose slot is below
// p * 100, so that those of 1 % are among those of 10 %, now and on every node. It is the first four bytes of the
// SHA-256 of "product/device", taken as a big-endian number, modulo Slots:
//
//	echo $((0x$(printf %s ABCDE12345/dev_01 | sha256sum | cut -c1-8) % 10000))
func (id DeviceID) Slot() int {
	var text [ProductIDLen + 1 + maxDeviceName]byte // on the stack, as long as the names are good
	sum := sha256.Sum256(append(append(append(text[:0], id.Product...), '/'), id.Device...))
	return int(binary.BigEndian.Uint32(sum[:4]) % Slots)
}

// RuleWish is a level that an operator wants of the devices that a selector means.
type RuleWish struct {
	Selector LevelSelector
	Priority int
	Level    Level
	// For is how long; 0 is not said: a raise ends after the default time then.
	For time.Duration
	// Permanent must be said for a raise without an end.
	Permanent bool
	Reason    string
	By        Actor
	// DryRun checks and counts, and changes nothing.
	DryRun bool
}

// RuleChange is what becomes of a rule that is there.
type RuleChange struct {
	// For is how long the rule lasts from now on; 0 with Permanent false leaves the end as it is.
	For       time.Duration
	Permanent bool
	// Percent grows or shrinks the part of the devices; 0 leaves it.
	Percent float64
	// Reason, if it is not empty, takes the place of the former one.
	Reason string
	By     Actor
}

// LevelRule is a level for all devices that a selector means.
type LevelRule struct {
	ID       string // empty in a dry run
	Selector LevelSelector
	// Priority decides between rules that narrow: the higher one, then the newer one.
	Priority int
	Level    Level
	// Expires is when the rule ends; zero is never.
	Expires time.Time
	Reason  string
	// SetBy made or changed it last, at ChangedAt.
	SetBy     Actor
	Created   time.Time
	ChangedAt time.Time
}

// RuleReach is what a rule is about right now.
type RuleReach struct {
	// Matched counts the registered devices that the selector means, Connected those of them that are.
	Matched, Connected int
	// Decides counts those whose level this very rule says; of a dry run, those whose level it would change.
	Decides int
	// Sample names the first of the matched devices.
	Sample []DeviceID
	// Levels counts the matched devices by their level, States by how far they are seen to follow.
	Levels [LevelDebug + 1]int
	States map[string]int
}
