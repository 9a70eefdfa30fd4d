package tencent

import (
	"fmt"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// ParseTimeRequest checks a message on TopicSys (2.4): {"type": "get", "resource": ["time"]}. ErrInvalid for anything else;
// other resources are not ours to answer.
func ParseTimeRequest(payload []byte) error {
	fields, err := parseFields(payload)
	if err != nil {
		return fmt.Errorf("time request: %w", err)
	}
	if fields["type"] == "get" {
		s := loose.NewScanner(fields["resource"])
		for s.Enter('['); s.Next(); {
			if s.Text() == "time" {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: time request: not a get of the resource time", logbridge.ErrInvalid)
}

// TimeReply answers it: the time in seconds, and when the question was received and the answer sent in milliseconds (2.4).
func TimeReply(received, sent time.Time) []byte {
	reply := strconv.AppendInt([]byte(`{"type":"get","time":`), sent.Unix(), 10)
	reply = strconv.AppendInt(append(reply, `,"ntptime1":`...), received.UnixMilli(), 10)
	reply = strconv.AppendInt(append(reply, `,"ntptime2":`...), sent.UnixMilli(), 10)
	return append(reply, '}')
}
