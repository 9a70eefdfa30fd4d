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
	reply := loose.AppendString([]byte(`{"Response":{"RequestId":`), cutText(requestID, maxReplyField))
	return append(reply, `}}`...)
}

// ReplyError is the answer to one that failed, also with status 200: other statuses make devices drop lines or break for
// good (4.5). The message is cut so that the answer stays within MaxReply bytes.
func ReplyError(code, message, requestID string) []byte {
	code, requestID = cutText(code, maxReplyField), cutText(requestID, maxReplyField)
	message = cutText(message, MaxReply)
	for {
		reply := loose.AppendString([]byte(`{"Response":{"Error":{"Code":`), code)
		reply = loose.AppendString(append(reply, `,"Message":`...), message)
		reply = loose.AppendString(append(reply, `},"RequestId":`...), requestID)
		reply = append(reply, `}}`...)
		switch over := len(reply) - MaxReply; {
		case over <= 0:
			return reply
		case message != "":
			message = cutText(message, max(0, len(message)-max(1, over/6))) // an escape is up to 6 bytes for one
		case code != "": // only escapes make them that long; real codes and ids have none
			code, requestID = cutText(code, len(code)-1), cutText(requestID, len(requestID)-1)
		default:
			requestID = ""
		}
	}
}

// cutText is at most most bytes of s, cut between characters.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	most = max(0, most)
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
