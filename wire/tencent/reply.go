package tencent

import (
	"unicode/utf8"

	"github.com/logbridge/logbridge/wire/loose"
)

// MaxReply is the longest answer to an upload: one more byte and the C SDK's HTTP client stays broken until the process
// restarts (4.5).
const MaxReply = 255

// maxReplyField bounds code and request id, so that there is always room for a message.
const maxReplyField = 64

// Reply is the answer to an upload that is stored (4.5). It goes out with status 200 like every other.
func Reply(requestID string) []byte {
	reply := loose.AppendString([]byte(`{"Response":{"RequestId":`), fit(requestID, maxReplyField))
	return append(reply, `}}`...)
}

// ReplyError is the answer to one that failed, also with status 200: other statuses make devices drop lines or break for
// good (4.5). The message is cut so that the answer stays within MaxReply bytes.
func ReplyError(code, message, requestID string) []byte {
	reply := loose.AppendString([]byte(`{"Response":{"Error":{"Code":`), fit(code, maxReplyField))
	reply = append(reply, `,"Message":`...)
	end := loose.AppendString([]byte(`},"RequestId":`), fit(requestID, maxReplyField))
	end = append(end, `}}`...)
	reply = loose.AppendString(reply, fit(message, MaxReply-len(reply)-len(`""`)-len(end)))
	return append(reply, end...)
}

// fit cuts s, between characters, to what loose.AppendString writes in at most most bytes without the quotes.
func fit(s string, most int) string {
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			most -= len(`\"`)
		case r < ' ':
			most -= len(`\u0000`)
		default:
			most -= utf8.RuneLen(r)
		}
		if most < 0 {
			return s[:i]
		}
	}
	return s
}
