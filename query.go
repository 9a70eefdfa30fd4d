package logbridge

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Query selects records. Zero fields do not restrict.
type Query struct {
	Source  Source
	Stream  Stream
	Product string
	// Device is a device name or a glob (path.Match) of them.
	Device   string
	Project  string
	Logstore string
	Topic    string
	// Level keeps records at least as severe: LevelWarn keeps warn and error. LevelOff, the zero value, keeps all.
	Level Level
	// Contains is a substring of the body or of an attribute's value.
	Contains string
	// Fields are attributes that must be there with exactly this value.
	Fields []Attr
	// Since (inclusive) and Until (exclusive) bound the event time.
	Since, Until time.Time
	// After keeps records behind this position.
	After Position
	// Limit ends the answer after so many records; 0 is no limit.
	Limit int
	// Order of the answer; the zero value is NewestFirst.
	Order Order
}

// Order is the order of an answer.
type Order uint8

// The orders. The first two go by event time; ByPosition is the order in which records were accepted, the only one in
// which a reader can stop, come back with After, and miss or repeat nothing.
const (
	NewestFirst Order = iota
	OldestFirst
	ByPosition
)

// Validate checks the glob.
func (q Query) Validate() error {
	if _, err := path.Match(q.Device, ""); err != nil {
		return fmt.Errorf("%w: device pattern %q: %w", ErrInvalid, clip(q.Device), err)
	}
	return nil
}

// IsGlob reports whether a device name is a pattern.
func IsGlob(device string) bool { return strings.ContainsAny(device, `*?[\`) }

// MatchStream reports whether records of stream s can match, by the fields that speak of the stream alone.
func (q *Query) MatchStream(s Stream) bool {
	if q.Stream != "" && s != q.Stream {
		return false
	}
	if q.Product != "" || q.Device != "" {
		id, ok := s.Device()
		if !ok || q.Product != "" && id.Product != q.Product || !matchDevice(q.Device, id.Device) {
			return false
		}
	}
	if q.Project != "" || q.Logstore != "" {
		project, logstore, ok := s.Logstore()
		if !ok || q.Project != "" && project != q.Project || q.Logstore != "" && logstore != q.Logstore {
			return false
		}
	}
	if q.Topic != "" {
		if topic, ok := s.Topic(); !ok || topic != q.Topic {
			return false
		}
	}
	return true
}

func matchDevice(pattern, name string) bool {
	if pattern == "" || pattern == name {
		return true
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// MatchTime reports whether an event time is within Since and Until.
func (q *Query) MatchTime(t time.Time) bool {
	return (q.Since.IsZero() || !t.Before(q.Since)) && (q.Until.IsZero() || t.Before(q.Until))
}

// MatchLevel reports whether a severity is at least as severe as asked.
func (q *Query) MatchLevel(l Level) bool { return q.Level == LevelOff || l <= q.Level }

// MatchContent reports whether body and attributes hold what Contains and Fields ask for.
func (q *Query) MatchContent(body string, attrs []Attr) bool {
	for _, want := range q.Fields {
		if !hasAttr(attrs, want) {
			return false
		}
	}
	if q.Contains == "" || strings.Contains(body, q.Contains) {
		return true
	}
	for _, a := range attrs {
		if strings.Contains(a.Value, q.Contains) {
			return true
		}
	}
	return false
}

func hasAttr(attrs []Attr, want Attr) bool {
	for _, a := range attrs {
		if a == want {
			return true
		}
	}
	return false
}

// Match reports whether r answers the query, Limit and Order aside.
func (q *Query) Match(r *Record) bool {
	return (q.Source == "" || r.Source == q.Source) &&
		q.MatchLevel(r.Severity) && q.MatchTime(r.Time) && (q.After.IsZero() || r.Position.Compare(q.After) > 0) &&
		q.MatchStream(r.Stream) && q.MatchContent(r.Body, r.Attributes)
}
