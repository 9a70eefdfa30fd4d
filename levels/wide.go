package levels

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// wideKind is the kind of rules for many devices in the bucket. Their keys have one name, the id.
const wideKind = "rule"

// wide is a rule for all devices that its selector means, with the selector taken apart so that most devices that it does
// not mean are told by a comparison.
type wide struct {
	logbridge.LevelRule
	slots  int    // the device's slot is below it
	prefix string // of the device's name
	glob   string // empty when the prefix says all
	exact  bool   // the prefix is the whole name
	tags   []logbridge.Attr
}

func newWide(r logbridge.LevelRule) wide {
	w := wide{LevelRule: r, slots: logbridge.Slots}
	if p := r.Selector.Percent; p != 0 {
		w.slots = int(math.Round(p * logbridge.Slots / 100))
	}
	if g := r.Selector.DeviceGlob; g != "" {
		i := strings.IndexAny(g, `*?[\`)
		switch {
		case i < 0:
			w.prefix, w.exact = g, true
		case g[i:] == "*":
			w.prefix = g[:i]
		default:
			w.prefix, w.glob = g[:i], g
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Selector.Tags)) {
		w.tags = append(w.tags, logbridge.Attr{Key: k, Value: r.Selector.Tags[k]})
	}
	return w
}

func (w *wide) live(now time.Time) bool { return w.Expires.IsZero() || now.Before(w.Expires) }

// order puts the rule that decides first: one that narrows before one for whole products, then the higher priority, then the
// newer.
func order(a, b *wide) int {
	return cmp.Or(rank(a)-rank(b), cmp.Compare(b.Priority, a.Priority), b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
}

func rank(w *wide) int {
	if w.Selector.Whole() {
		return 1
	}
	return 0
}

// target is a device that rules are matched against.
type target struct {
	id   logbridge.DeviceID
	slot int               // -1 until it is needed
	tags map[string]string // nil until they are needed, if from is set
	from Devices
}

// meets reports whether the device is one that the rule means, products aside. Cheap tests come first.
func (t *target) meets(w *wide) bool {
	if !strings.HasPrefix(t.id.Device, w.prefix) || w.exact && len(t.id.Device) != len(w.prefix) {
		return false
	}
	if w.slots < logbridge.Slots {
		if t.slot < 0 {
			t.slot = t.id.Slot()
		}
		if t.slot >= w.slots {
			return false
		}
	}
	if len(w.tags) > 0 && t.from != nil {
		d, _ := t.from.Device(t.id) // one that is not registered has no tags
		t.tags, t.from = d.Tags, nil
	}
	for _, tag := range w.tags {
		if v, ok := t.tags[tag.Key]; !ok || v != tag.Value {
			return false
		}
	}
	if w.glob == "" {
		return true
	}
	ok, err := path.Match(w.glob, t.id.Device)
	return ok && err == nil
}

// ruleIndex has the rules that can mean devices of a product, those for every product among them, in the order in which
// they decide. Products without a rule of their own share the list of "".
type ruleIndex map[string][]*wide

func (x ruleIndex) of(product string) []*wide {
	if list, ok := x[product]; ok {
		return list
	}
	return x[""]
}

func (x ruleIndex) add(w *wide) {
	if _, ok := x[w.Selector.Product]; !ok {
		x[w.Selector.Product] = slices.Clone(x[""])
	}
	for product, list := range x {
		if w.Selector.Product == "" || product == w.Selector.Product {
			x[product] = slices.Insert(list, position(list, w), w)
		}
	}
}

func (x ruleIndex) remove(w *wide) {
	for product, list := range x {
		if i := position(list, w); i < len(list) && list[i] == w {
			x[product] = slices.Delete(list, i, i+1)
		}
	}
}

// position is where the rule is in a list, or would be.
func position(list []*wide, w *wide) int {
	i, _ := slices.BinarySearchFunc(list, w, order)
	return i
}

// first is the first rule of a list that means the device, or nil.
func first(list []*wide, t *target) *wide {
	for _, w := range list {
		if t.meets(w) {
			return w
		}
	}
	return nil
}

// wideJSON is a rule for many as stored, with the same promises as ruleJSON.
type wideJSON struct {
	Product   string            `json:"product,omitempty"`
	Glob      string            `json:"device_glob,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	Percent   float64           `json:"percent,omitempty"`
	Priority  int               `json:"priority,omitempty"`
	Level     *logbridge.Level  `json:"level"`
	Expires   time.Time         `json:"expires_at,omitzero"`
	Reason    string            `json:"reason,omitempty"`
	SetBy     string            `json:"set_by,omitempty"`
	Address   string            `json:"address,omitempty"`
	Created   time.Time         `json:"created,omitzero"`
	ChangedAt time.Time         `json:"changed_at,omitzero"`
}

func encodeWide(_ string, w wide) ([]byte, error) {
	s := w.Selector
	return json.Marshal(wideJSON{s.Product, s.DeviceGlob, s.Tags, s.Percent, w.Priority, &w.Level, w.Expires, w.Reason,
		w.SetBy.Name, w.SetBy.Address, w.Created, w.ChangedAt})
}

func decodeWide(id string, b []byte) (wide, error) {
	var j wideJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return wide{}, fmt.Errorf("%w: stored rule: %w", logbridge.ErrInvalid, err)
	}
	r := logbridge.LevelRule{ID: id, Priority: j.Priority, Expires: j.Expires, Reason: j.Reason, Created: j.Created, ChangedAt: j.ChangedAt,
		Selector: logbridge.LevelSelector{Product: j.Product, DeviceGlob: j.Glob, Tags: j.Tags, Percent: j.Percent},
		SetBy:    logbridge.Actor{Name: j.SetBy, Address: j.Address}}
	if j.Level == nil {
		return wide{}, fmt.Errorf("%w: stored rule without a level", logbridge.ErrInvalid)
	}
	if err := r.Selector.Validate(); err != nil {
		return wide{}, fmt.Errorf("stored rule: %w", err)
	}
	r.Level = *j.Level
	return newWide(r), nil
}

func (l *Levels) wideCodec() natsd.Codec[string, wide] {
	return natsd.Codec[string, wide]{
		Names:   func(id string) []string { return []string{id} },
		Key:     func(names []string) (string, bool) { return strings.Join(names, ""), len(names) == 1 },
		Compare: strings.Compare,
		Encode:  encodeWide, Decode: decodeWide, Changed: l.wideChanged,
	}
}
