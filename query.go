package logbridge

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query selects records. Zero fields do not restrict.
type Query struct {
	// Sources and Levels are sets of what is asked for; empty is all.
	Sources SourceSet
	Levels  LevelSet
	Stream  Stream
	// Streams, when not nil, says of a stream whether its records are asked for, beside what the fields about streams say.
	// It is asked once for a stream and table, not for each record, and may be called concurrently.
	Streams func(Stream) bool
	Product string
	// Device is a device name or a glob (path.Match) of them.
	Device   string
	Project  string
	Logstore string
	Topic    string
	// Contains is a substring of the record's text; Where says of which.
	Contains string
	Where    Scope
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

// Scope says where Query.Contains is looked for.
type Scope uint8

// The scopes.
const (
	// InValues is the body and the values of the attributes.
	InValues Scope = iota
	// InLine is the body, and for a record without one the keys and the values of its attributes: what a reader who is
	// shown one line for each record sees, as long as the text holds nothing of JSON's own.
	InLine
)

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
	if q.Stream != "" && s != q.Stream || q.Streams != nil && !q.Streams(s) {
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

// MatchLevel reports whether a severity is one of those asked for.
func (q *Query) MatchLevel(l Level) bool { return q.Levels == 0 || q.Levels.Has(l) }

// MatchSource reports whether a source is one of those asked for.
func (q *Query) MatchSource(s Source) bool { return q.Sources == 0 || q.Sources.Has(s) }

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
	if q.Where == InLine && body != "" {
		return false
	}
	for _, a := range attrs {
		if strings.Contains(a.Value, q.Contains) || q.Where == InLine && strings.Contains(a.Key, q.Contains) {
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
	return q.MatchSource(r.Source) &&
		q.MatchLevel(r.Severity) && q.MatchTime(r.Time) && (q.After.IsZero() || r.Position.Compare(q.After) > 0) &&
		q.MatchStream(r.Stream) && q.MatchContent(r.Body, r.Attributes)
}

// LevelSet is a set of levels.
type LevelSet uint8

// LevelsOf is the set of these levels.
func LevelsOf(levels ...Level) (s LevelSet) {
	for _, l := range levels {
		s |= 1 << l
	}
	return s
}

// AtLeast is the set of the levels that are as severe as l or more: LevelWarn gives warn and error. LevelOff gives the empty
// set, which asks for all.
func AtLeast(l Level) LevelSet {
	if l == LevelOff {
		return 0
	}
	return 1<<(l+1) - 1
}

// Has reports whether l is in the set.
func (s LevelSet) Has(l Level) bool { return s&(1<<l) != 0 }

// SourceSet is a set of sources.
type SourceSet uint8

// noSource is in a set for a source that there is not, so that the set is not empty, which would ask for all.
const noSource = 1 << 7

// SourcesOf is the set of these sources.
func SourcesOf(sources ...Source) (s SourceSet) {
	for _, source := range sources {
		if n := slices.Index(Sources, source); n >= 0 {
			s |= 1 << n
		} else {
			s |= noSource
		}
	}
	return s
}

// Has reports whether source is in the set.
func (s SourceSet) Has(source Source) bool {
	n := slices.Index(Sources, source)
	return n >= 0 && s&(1<<n) != 0
}

// Lost is what a tail gives in place of records that it passed over, since its reader was too slow: an error that is not
// the last of its pairs.
type Lost struct {
	Records uint64   // how many that answer the query
	To      Position // the last position that was passed over
}

func (l *Lost) Error() string {
	return strconv.FormatUint(l.Records, 10) + " records dropped, the reader is too slow"
}
