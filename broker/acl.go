package broker

import (
	"strings"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// A device reaches topics that name itself, exactly, and no other (tencent-iot.md 2.4, 3, mqtt-broker.md P14). Neither
// function allocates for a topic that is allowed.

// mayPublish reports whether a device may publish on topic: its questions, its reports, its own data, and what its
// services say ($thing/up/…, $shadow/operation/…).
func mayPublish(id logbridge.DeviceID, topic string) bool {
	kind, owner := tencent.ParseTopic(topic)
	if owner != id || hasWildcard(topic) {
		return false
	}
	switch kind {
	case tencent.TopicOperation, tencent.TopicReport, tencent.TopicSys, tencent.TopicData:
		return true
	case tencent.TopicService:
		return !reserved(topic)
	}
	return false
}

// maySubscribe reports whether a device may subscribe with filter. Nothing is ever delivered on most of what it may, but
// SDKs stall without the SUBACK. The only wildcard that SDKs use is the last level of $rrpc/rxd/P/D/+.
func maySubscribe(id logbridge.DeviceID, filter string) bool {
	kind, owner := tencent.ParseTopic(filter)
	if owner != id {
		return false
	}
	switch kind {
	case tencent.TopicOperationResult, tencent.TopicSysResult:
		return true
	case tencent.TopicData:
		return !hasWildcard(filter)
	case tencent.TopicService:
		if strings.HasPrefix(filter, "$rrpc/") {
			filter = strings.TrimSuffix(filter, "/+")
		}
		return !reserved(filter) && !hasWildcard(filter)
	}
	return false
}

func hasWildcard(topic string) bool { return strings.ContainsAny(topic, "+#") }

// reserved reports whether a topic is of a family that is no device service: ours, or one that brokers give a meaning.
func reserved(topic string) bool {
	family, _, _ := strings.Cut(topic, "/")
	for _, name := range [...]string{"$log", "$sys", "$share", "$queue"} {
		if strings.EqualFold(family, name) {
			return true
		}
	}
	return false
}

// outlet is a topic on which something is delivered to a device.
type outlet uint8

const (
	outletLevel outlet = iota
	outletTime
	outlets // how many there are
)

// outletOf finds the outlet that a topic of a device is.
func outletOf(id logbridge.DeviceID, topic string) (outlet, bool) {
	switch kind, owner := tencent.ParseTopic(topic); {
	case owner != id:
		return 0, false
	case kind == tencent.TopicOperationResult:
		return outletLevel, true
	case kind == tencent.TopicSysResult:
		return outletTime, true
	}
	return 0, false
}
