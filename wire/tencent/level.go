package tencent

import (
	"fmt"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// typeGetLogLevel is the type of the question, of the answer and of a push alike (3.1, 3.2).
const typeGetLogLevel = "get_log_level"

// MaxLevelReply is the longest answer or push: the C SDKs look at the first 127 bytes only (3.2).
const MaxLevelReply = 127

// maxQuestion bounds a level or time question. Real ones are below 130 bytes; the C SDKs' packets end at 2048 (1).
const maxQuestion = 2048

// LevelRequest is a device's question for its level.
type LevelRequest struct {
	// ClientToken is to be echoed. SDKs fill it in different ways (3.1); it means nothing to us.
	ClientToken string
}

// ParseLevelRequest reads a message on TopicOperation (3.1): JSON, in any order of members, with type get_log_level.
// ErrInvalid otherwise.
func ParseLevelRequest(payload []byte) (LevelRequest, error) {
	fields, err := parseFields(payload)
	if err != nil {
		return LevelRequest{}, fmt.Errorf("level request: %w", err)
	}
	if fields["type"] != typeGetLogLevel {
		return LevelRequest{}, fmt.Errorf("%w: level request: type is not %s", logbridge.ErrInvalid, typeGetLogLevel)
	}
	return LevelRequest{ClientToken: fields["clientToken"]}, nil
}

// LevelRequestPayload is the question as the C SDKs write it (3.1).
func LevelRequestPayload(clientToken string) []byte {
	payload := []byte(`{"type": "` + typeGetLogLevel + `", "clientToken": `)
	return append(loose.AppendString(payload, clientToken), '}')
}

// LevelReply is the answer to a question, or a push, for which clientToken is empty (3.2): compact JSON with type and
// log_level first, at most MaxLevelReply bytes. What does not fit is left out, the timestamp first, then the clientToken;
// no SDK needs either. result is 0: no SDK looks at it.
func LevelReply(clientToken string, level logbridge.Level, now time.Time) []byte {
	const result = `,"result":0`
	reply := make([]byte, 0, MaxLevelReply)
	reply = append(reply, replyHead...)
	reply = strconv.AppendUint(reply, uint64(level), 10)
	if clientToken != "" && len(clientToken) < MaxLevelReply {
		member := loose.AppendString([]byte(`,"clientToken":`), clientToken)
		if len(reply)+len(member)+len(result)+len("}") <= MaxLevelReply {
			reply = append(reply, member...)
		}
	}
	reply = append(reply, result...)
	timestamp := strconv.AppendInt([]byte(`,"timestamp":`), now.Unix(), 10)
	if len(reply)+len(timestamp)+len("}") <= MaxLevelReply {
		reply = append(reply, timestamp...)
	}
	return append(reply, '}')
}

// replyHead comes before the level in each answer.
const replyHead = `{"type":"` + typeGetLogLevel + `","log_level":`

// ToldLevel is the level in what LevelReply has made. false for anything else.
func ToldLevel(reply []byte) (logbridge.Level, bool) {
	if len(reply) <= len(replyHead) || string(reply[:len(replyHead)]) != replyHead {
		return 0, false
	}
	level := logbridge.Level(reply[len(replyHead)] - '0')
	return level, level.Valid()
}

// LevelReplyFields are the members of an answer or push.
type LevelReplyFields struct {
	Type        string
	ClientToken string
	Level       logbridge.Level
	// Timestamp is in Unix seconds, 0 when it was left out.
	Timestamp int64
}

// ParseLevelReply reads an answer or push as a device does. ErrInvalid unless type is get_log_level and log_level one of the
// five levels: SDKs ignore other numbers (3.2).
func ParseLevelReply(payload []byte) (LevelReplyFields, error) {
	fields, err := parseFields(payload)
	if err != nil {
		return LevelReplyFields{}, fmt.Errorf("level reply: %w", err)
	}
	if fields["type"] != typeGetLogLevel {
		return LevelReplyFields{}, fmt.Errorf("%w: level reply: type is not %s", logbridge.ErrInvalid, typeGetLogLevel)
	}
	n, err := strconv.ParseUint(fields["log_level"], 10, 8)
	level := logbridge.Level(n)
	if err != nil || !level.Valid() {
		return LevelReplyFields{}, fmt.Errorf("%w: level reply: log_level is not 0 to 4", logbridge.ErrInvalid)
	}
	timestamp, _ := strconv.ParseInt(fields["timestamp"], 10, 64) // 0 when it is not there or no number: nobody acts on it
	return LevelReplyFields{typeGetLogLevel, fields["clientToken"], level, timestamp}, nil
}

// parseFields reads the members of a small JSON object as text.
func parseFields(payload []byte) (map[string]string, error) {
	if len(payload) > maxQuestion {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", logbridge.ErrInvalid, len(payload), maxQuestion)
	}
	fields := make(map[string]string, 4)
	s := loose.NewScanner(loose.Repair(payload))
	for s.Enter('{'); s.Next(); {
		key := s.Key()
		fields[key] = s.Text()
	}
	if err := s.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", logbridge.ErrInvalid, err)
	}
	return fields, nil
}
