package loki

import (
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// serviceLabels are the labels that name the service, best first: service_name, then what Loki looks for without it
// (discover_service_name, its defaults).
var serviceLabels = [...]string{
	"service_name", "service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container", "container_name",
	"k8s_container_name", "component", "workload", "job", "k8s_job_name",
}

// namespaceLabels name its namespace, best first.
var namespaceLabels = [...]string{"service_namespace", "namespace"}

// levelNames are the labels and metadata that name a level, best first: Loki's log_level_fields, and what it adds itself.
var levelNames = [...]string{"level", "detected_level", "severity", "lvl", "log.level", "log_level", "severity_text"}

// pushStream is one stream of a push: what its labels say of all its entries.
type pushStream struct {
	stream logbridge.Stream
	labels loose.Attributes // those that the records keep
	level  logbridge.Level  // LevelOff if no label says one
	// levels are labels that say nothing but the level: records of that level do not keep them.
	levels []logbridge.Attr
}

func newPushStream(labels *loose.Attributes) *pushStream {
	service := logbridge.ServiceStream(firstOf(labels.List, namespaceLabels[:]), firstOf(labels.List, serviceLabels[:]))
	s := &pushStream{stream: service, level: levelOf(labels.List)}
	namespace, name, _ := service.Service()
	for _, l := range labels.List {
		switch {
		case l.Key == "service_name" && l.Value == name, l.Key == "service_namespace" && l.Value == namespace:
		case saysLevel(l, s.level):
			s.levels = append(s.levels, l)
		default:
			s.labels.Add(l.Key, l.Value)
		}
	}
	return s
}

// firstOf is the value of the first of names that is there and not empty.
func firstOf(attrs []logbridge.Attr, names []string) string {
	for _, name := range names {
		if i := slices.IndexFunc(attrs, func(a logbridge.Attr) bool { return a.Key == name && a.Value != "" }); i >= 0 {
			return attrs[i].Value
		}
	}
	return ""
}

// levelOf is the level that attributes name; LevelOff if they do not.
func levelOf(attrs []logbridge.Attr) logbridge.Level {
	for _, name := range levelNames {
		for _, a := range attrs {
			if !strings.EqualFold(a.Key, name) {
				continue
			}
			if level, ok := loose.Severity(a.Value); ok {
				return level
			}
		}
	}
	return logbridge.LevelOff
}

// saysLevel reports whether an attribute says nothing but the level, in the name that readers get anyway.
func saysLevel(a logbridge.Attr, level logbridge.Level) bool {
	return (a.Key == "level" || a.Key == "detected_level") && level != logbridge.LevelOff && a.Value == level.String()
}

// entry takes an entry, whose metadata are the attributes of the record at hand.
func (d *pushDecoder) entry(s *pushStream, at time.Time, line string) {
	own := d.Metadata()
	level := levelOf(own)
	if level == logbridge.LevelOff {
		level = s.level
	}
	if level == logbridge.LevelOff {
		level = lineLevel(line)
	}
	d.DropOwn(func(a logbridge.Attr) bool { return saysLevel(a, level) })
	if level != s.level {
		for _, l := range s.levels {
			d.Own.Add(l.Key, l.Value)
		}
	}
	r := logbridge.Record{
		Time: at, ObservedTime: d.received, TimeQuality: logbridge.TimeDevice, Source: logbridge.SourceLoki, Severity: level, Body: line,
	}
	if at.IsZero() {
		r.Time, r.TimeQuality = d.received, logbridge.TimeReceived
	}
	d.End(r)
}

// endStream finishes a stream, which has one part.
func (d *pushDecoder) endStream(s *pushStream) error {
	d.EndPart(loose.Attributes{})
	return d.EndStream(s.stream, s.labels)
}

// maxLevelSearch is how far into a line its level is looked for: it stands near the begin.
const maxLevelSearch = 512

// lineLevel finds the level that a line says of itself: level=warn as in logfmt or "level":"warn" as in JSON, also under the
// names lvl and severity; info otherwise.
func lineLevel(line string) logbridge.Level {
	head := line[:min(len(line), maxLevelSearch)]
	for _, name := range [...]string{"level", "lvl", "severity"} {
		for at := 0; ; {
			n := strings.Index(head[at:], name)
			if n < 0 {
				break
			}
			begin := at + n
			at = begin + len(name)
			if begin > 0 && strings.IndexByte(" \t\"{,", head[begin-1]) < 0 {
				continue
			}
			if level, ok := loose.Severity(levelWord(head[at:])); ok {
				return level
			}
		}
	}
	return logbridge.LevelInfo
}

// levelWord is the value behind a name: =word, ="word" or ":"word".
func levelWord(rest string) string {
	if value, ok := strings.CutPrefix(rest, "="); ok {
		rest = strings.TrimPrefix(value, `"`)
	} else {
		value, ok := strings.CutPrefix(rest, `"`)
		value, ok2 := strings.CutPrefix(strings.TrimLeft(value, " "), ":")
		value, ok3 := strings.CutPrefix(strings.TrimLeft(value, " "), `"`)
		if !ok || !ok2 || !ok3 {
			return ""
		}
		rest = value
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if end < 0 {
		return rest
	}
	return rest[:end]
}
