package httpapi

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// The labels of the Loki view. Each follows from a record's stream, source and severity alone, so none costs memory per
// value, and a selector can be answered without looking at a record.
const (
	labelSource        = "source"
	labelProduct       = "product"
	labelDevice        = "device"
	labelProject       = "project"
	labelLogstore      = "logstore"
	labelTopic         = "topic"
	labelNamespace     = "service_namespace"
	labelService       = "service_name"
	labelLevel         = "level"
	labelDetectedLevel = "detected_level" // the same value: Grafana colours by one or the other
)

// viewLabels are all of them, in the order of their names.
var viewLabels = []string{labelDetectedLevel, labelDevice, labelLevel, labelLogstore, labelProduct, labelProject, labelService, labelNamespace, labelSource, labelTopic}

// Structured metadata that every record has beside its attributes. Seq is what links back to GET /api/v1/logs.
const (
	metaTimeQuality = "time_quality"
	metaSeq         = "seq"
)

// streamLabels gives the labels that follow from a stream, in the order of their names. Grafana's Logs Drilldown asks for
// records that have a service_name, so each has one.
func streamLabels(s logbridge.Stream) []loki.Label {
	if id, ok := s.Device(); ok {
		return []loki.Label{{Name: labelDevice, Value: id.Device}, {Name: labelProduct, Value: id.Product}, {Name: labelService, Value: id.Product}}
	}
	if project, store, ok := s.Logstore(); ok {
		return []loki.Label{{Name: labelLogstore, Value: store}, {Name: labelProject, Value: project}, {Name: labelService, Value: store}}
	}
	if topic, ok := s.Topic(); ok {
		return []loki.Label{{Name: labelService, Value: topic}, {Name: labelTopic, Value: topic}}
	}
	if namespace, service, ok := s.Service(); ok {
		labels := []loki.Label{{Name: labelService, Value: service}}
		if namespace != "-" {
			labels = append(labels, loki.Label{Name: labelNamespace, Value: namespace})
		}
		return labels
	}
	return []loki.Label{{Name: labelService, Value: string(s)}}
}

// labelOf is the value of a label, "" when there is none, as Loki has it.
func labelOf(labels []loki.Label, name string) string {
	for _, l := range labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// lokiKind is what the labels of a record follow from.
type lokiKind struct {
	stream logbridge.Stream
	source logbridge.Source
	level  logbridge.Level
}

func lokiKindOf(r *logbridge.Record) lokiKind {
	return lokiKind{stream: r.Stream, source: r.Source, level: r.Severity}
}

// labels gives all labels of the kind, in the order of their names.
func (k lokiKind) labels() []loki.Label {
	labels := append(streamLabels(k.stream),
		loki.Label{Name: labelSource, Value: string(k.source)},
		loki.Label{Name: labelLevel, Value: k.level.String()},
		loki.Label{Name: labelDetectedLevel, Value: k.level.String()})
	sortLabels(labels)
	return labels
}

func sortLabels(labels []loki.Label) {
	slices.SortFunc(labels, func(a, b loki.Label) int { return cmp.Compare(a.Name, b.Name) })
}

// kindLabels remembers the labels of the kinds that a query met, up to maxKinds of them.
type kindLabels map[lokiKind][]loki.Label

// maxKinds: some hundred bytes each.
const maxKinds = 4096

func (m kindLabels) of(r *logbridge.Record) []loki.Label {
	kind := lokiKindOf(r)
	labels, known := m[kind]
	if !known {
		labels = kind.labels()
		if len(m) < maxKinds {
			m[kind] = labels
		}
	}
	return labels
}

// lokiLine is the one line that a record is: its body, or its attributes as an object of JSON.
func lokiLine(r *logbridge.Record) string {
	if r.Body != "" {
		return r.Body
	}
	return string(appendAttributes(nil, r.Attributes))
}

// appendMetadata adds the structured metadata of a record to its labels: time_quality and seq, and the attributes unless they
// are its line. A name that is taken gets _extracted behind it, as Loki calls a parsed field that collides with a label.
func appendMetadata(labels []loki.Label, r *logbridge.Record) []loki.Label {
	if r.Body != "" {
		for _, a := range r.Attributes {
			name := freeLabel(labels, labelName(a.Key))
			labels = append(labels, loki.Label{Name: name, Value: a.Value})
		}
	}
	return append(labels,
		loki.Label{Name: metaTimeQuality, Value: r.TimeQuality.String()},
		loki.Label{Name: metaSeq, Value: positionText(r.Position)})
}

// positionText is String with one allocation: it is asked for each line that a query looks at.
func positionText(p logbridge.Position) string {
	b := strconv.AppendUint(make([]byte, 0, 32), p.Seq, 10)
	return string(strconv.AppendUint(append(b, '.'), uint64(p.Index), 10))
}

// freeLabel is name, or name with as many _extracted behind it as it takes to be none of labels, nor of those that only other
// streams have: what a name means shall not depend on the stream.
func freeLabel(labels []loki.Label, name string) string {
	taken := func(l loki.Label) bool { return l.Name == name }
	for name == metaSeq || name == metaTimeQuality || slices.Contains(viewLabels, name) || slices.ContainsFunc(labels, taken) {
		name += "_extracted"
	}
	return name
}

// labelName makes any key a label's name: what is neither letter, digit nor underscore becomes an underscore, and a digit
// in front gets one before it.
func labelName(key string) string {
	if isLabelName(key) {
		return key
	}
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '_' || isAlphanumeric(byte(r))) {
			return r
		}
		return '_'
	}, key)
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

func isLabelName(s string) bool {
	for i := range len(s) {
		if s[i] != '_' && !isAlphanumeric(s[i]) {
			return false
		}
	}
	return s != "" && (s[0] < '0' || s[0] > '9')
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
