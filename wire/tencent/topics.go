package tencent

import (
	"fmt"
	"strings"

	"github.com/logbridge/logbridge"
)

// ClientID is the MQTT client id of a device: ProductId and DeviceName with nothing between (2.1).
func ClientID(id logbridge.DeviceID) string { return id.Product + id.Device }

// ParseClientID takes a client id apart: the product is always the first 10 characters (2.1). ErrInvalid when either name is
// not one.
func ParseClientID(clientID string) (logbridge.DeviceID, error) {
	if len(clientID) <= logbridge.ProductIDLen {
		return logbridge.DeviceID{}, fmt.Errorf("%w: client id of %d characters is not a product id and a device name",
			logbridge.ErrInvalid, len(clientID))
	}
	id := logbridge.DeviceID{Product: clientID[:logbridge.ProductIDLen], Device: clientID[logbridge.ProductIDLen:]}
	if err := id.Validate(); err != nil {
		return logbridge.DeviceID{}, fmt.Errorf("client id: %w", err)
	}
	return id, nil
}

// Topic is what an MQTT topic is for.
type Topic uint8

// The topics. P and D stand for ProductId and DeviceName.
const (
	// TopicOther names no device, or not in a form that we know.
	TopicOther Topic = iota
	// TopicOperation is $log/operation/P/D: the device asks for its level (3.1).
	TopicOperation
	// TopicOperationResult is $log/operation/result/P/D: answers and pushes of the level (3.2).
	TopicOperationResult
	// TopicReport is $log/report/P/D: log lines over MQTT, our own addition.
	TopicReport
	// TopicSys is $sys/operation/P/D: the device asks for the time (2.4).
	TopicSys
	// TopicSysResult is $sys/operation/result/P/D: the answer.
	TopicSysResult
	// TopicData is P/D/…: what samples and applications publish (2.4).
	TopicData
	// TopicService is any other $…/P/D or $…/P/D/…: shadow, ota, broadcast, rrpc and the like, which clients subscribe
	// to right after login and stall without a SUBACK (2.4).
	TopicService
)

const (
	prefixOperation       = "$log/operation/"
	prefixOperationResult = "$log/operation/result/"
	prefixReport          = "$log/report/"
	prefixSys             = "$sys/operation/"
	prefixSysResult       = "$sys/operation/result/"
)

// exact are the topics that end with P/D.
var exact = [...]struct {
	prefix string
	topic  Topic
}{
	{prefixOperationResult, TopicOperationResult}, // before its own prefix
	{prefixOperation, TopicOperation},
	{prefixReport, TopicReport},
	{prefixSysResult, TopicSysResult},
	{prefixSys, TopicSys},
}

// The filters of what all devices say.
const (
	OperationFilter = prefixOperation + "+/+"
	ReportFilter    = prefixReport + "+/+"
	SysFilter       = prefixSys + "+/+"
)

// OperationTopic is where a device asks for its level.
func OperationTopic(id logbridge.DeviceID) string { return prefixOperation + id.String() }

// OperationResultTopic is where a device hears its level.
func OperationResultTopic(id logbridge.DeviceID) string { return prefixOperationResult + id.String() }

// ReportTopic is where a device sends log lines.
func ReportTopic(id logbridge.DeviceID) string { return prefixReport + id.String() }

// SysTopic is where a device asks for the time.
func SysTopic(id logbridge.DeviceID) string { return prefixSys + id.String() }

// SysResultTopic is where a device hears the time.
func SysResultTopic(id logbridge.DeviceID) string { return prefixSysResult + id.String() }

// ParseTopic says what a topic, or a subscription's filter, is for and which device it belongs to. Both names must be
// spelt out: a filter with a wildcard at their place is TopicOther, so that it reaches no device.
func ParseTopic(topic string) (Topic, logbridge.DeviceID) {
	if !strings.HasPrefix(topic, "$") {
		if id, rest, ok := cutDevice(topic); ok && rest != "" {
			return TopicData, id
		}
		return TopicOther, logbridge.DeviceID{}
	}
	for _, e := range exact {
		if rest, ok := strings.CutPrefix(topic, e.prefix); ok {
			if id, tail, ok := cutDevice(rest); ok && tail == "" {
				return e.topic, id
			}
		}
	}
	return parseService(topic)
}

// parseService finds the device in $name/verb/P/D… or $name/verb/word/P/D….
func parseService(topic string) (Topic, logbridge.DeviceID) {
	_, rest, _ := strings.Cut(topic, "/")
	for range 2 {
		var ok bool
		if _, rest, ok = strings.Cut(rest, "/"); !ok {
			break
		}
		if id, _, ok := cutDevice(rest); ok {
			return TopicService, id
		}
	}
	return TopicOther, logbridge.DeviceID{}
}

// cutDevice takes P/D from the front of s; rest is what follows, with its slash.
func cutDevice(s string) (id logbridge.DeviceID, rest string, ok bool) {
	if len(s) <= logbridge.ProductIDLen || s[logbridge.ProductIDLen] != '/' {
		return id, "", false
	}
	id.Product, s = s[:logbridge.ProductIDLen], s[logbridge.ProductIDLen+1:]
	id.Device = s
	if n := strings.IndexByte(s, '/'); n >= 0 {
		id.Device, rest = s[:n], s[n:]
	}
	if id.Validate() != nil {
		return logbridge.DeviceID{}, "", false
	}
	return id, rest, true
}
