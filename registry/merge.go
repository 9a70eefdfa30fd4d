package registry

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// memory is what was provisioned last for one thing: the text of each field. It holds secrets and is sealed as a whole.
type memory map[string]string

// kindMemory is the kind of memories in their bucket. Their one name is the key of the thing in the registry.
const kindMemory = "last"

type memoryJSON struct {
	Fields string `json:"sealed_fields"`
}

func (r *Registry) memoryForm() form[string, memory, memoryJSON] {
	return named(
		func(key string, m memory) memoryJSON {
			text, err := json.Marshal(m)
			if err != nil {
				panic(err) // a map of strings always marshals
			}
			return memoryJSON{r.seal.seal(place("fields", kindMemory, key), string(text))}
		},
		func(key string, j memoryJSON) (memory, error) {
			text, err := r.seal.open(place("fields", kindMemory, key), j.Fields)
			if err != nil {
				return nil, err
			}
			var m memory
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				return nil, fmt.Errorf("%w: what was provisioned last: %w", logbridge.ErrInvalid, err)
			}
			return m, nil
		})
}

// merge decides, field by field, what provisioning changes about one thing.
type merge struct {
	exists  bool // it is registered already
	changed bool // a field was set, so it must be stored
	last    memory
	next    memory
}

func newMerge(exists bool, last memory) *merge {
	return &merge{exists: exists, changed: !exists, last: last, next: memory{}}
}

// decide says whether a field is to be set to what is wanted: where the thing is new, where the field is absent and was
// never provisioned, and where it still is what was provisioned last. Anything else is the operator's. When nothing is
// said about the field it stays; about a new thing it is remembered that nothing was, so that the operator's doings can
// be told from it later.
func (m *merge) decide(field, current, wanted string, said bool) bool {
	last, known := m.last[field]
	switch {
	case !said && !m.exists:
		m.next[field] = current
		return false
	case said && (current == wanted || !m.exists || known && current == last || !known && current == ""):
		m.next[field] = wanted
		return current != wanted
	}
	if known {
		m.next[field] = last
	}
	return false
}

// value is the type of a field.
type value interface {
	string | bool | []string | map[string]string | logbridge.Quota | logbridge.WebLimits | logbridge.WebPrivacy
}

// set applies decide to a field.
func set[T value](m *merge, field string, current *T, wanted T, said bool) {
	if m.decide(field, text(*current), text(wanted), said) {
		*current = wanted
		m.changed = true
	}
}

// setFlag is set for a flag, about which nil says nothing.
func setFlag(m *merge, field string, current *bool, wanted *bool) {
	if wanted == nil {
		wanted = new(bool)
		set(m, field, current, *wanted, false)
		return
	}
	set(m, field, current, *wanted, true)
}

// text is a field in the form in which it is remembered and compared. Empty is absent; a flag never is.
func text[T value](v T) string {
	switch v := any(v).(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case []string:
		return listText(len(v), v)
	case map[string]string:
		return listText(len(v), v)
	case logbridge.Quota:
		if v != (logbridge.Quota{}) {
			return listText(1, v)
		}
	case logbridge.WebLimits:
		if v != (logbridge.WebLimits{}) {
			return listText(1, v)
		}
	case logbridge.WebPrivacy:
		if text := listText(1, v); text != "{}" {
			return text
		}
	}
	return ""
}

func listText(n int, v any) string {
	if n == 0 {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(b)
}

// memories is the table of them; it is only needed while something is provisioned.
type memories = natsd.Table[string, memory]
