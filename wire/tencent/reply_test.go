package tencent

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReply(t *testing.T) {
	if got := string(Reply("5B0A6B60BB6EE39764D458B5")); got != `{"Response":{"RequestId":"5B0A6B60BB6EE39764D458B5"}}` {
		t.Error(got)
	}
	got := string(ReplyError("AuthFailure.SignatureFailure", `signature "x" does not match`, "5B0A"))
	if want := `{"Response":{"Error":{"Code":"AuthFailure.SignatureFailure","Message":"signature \"x\" does not match"},"RequestId":"5B0A"}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestReplyIsNeverTooLong(t *testing.T) {
	for _, filler := range []string{"x", "\"", "\x00", "中", "😀", "\xff", "a\x00"} {
		for _, n := range []int{0, 1, 60, 64, 100, 255, 5000} {
			long := strings.Repeat(filler, n)
			for _, reply := range [][]byte{Reply(long), ReplyError("Code", long, "id"), ReplyError(long, "message", "id"), ReplyError(long, long, long)} {
				if len(reply) > MaxReply || !json.Valid(reply) || !utf8.Valid(reply) {
					t.Fatalf("%d times %q: %d bytes: %s", n, filler, len(reply), reply)
				}
			}
		}
	}
	// What fits is not cut more than needed.
	if reply := ReplyError("Code", strings.Repeat("m", 300), "id"); len(reply) < MaxReply-6 {
		t.Errorf("only %d bytes: %s", len(reply), reply)
	}
}

func FuzzReplyError(f *testing.F) {
	f.Add("AuthFailure.SignatureFailure", "signature does not match", "5B0A6B60BB6EE39764D458B5")
	f.Add("\x00\x00", "中\xff\"", "")
	f.Fuzz(func(t *testing.T, code, message, requestID string) {
		for _, reply := range [][]byte{Reply(requestID), ReplyError(code, message, requestID)} {
			var r struct {
				Response struct {
					Error     *struct{ Code, Message string }
					RequestID string `json:"RequestId"`
				}
			}
			if err := json.Unmarshal(reply, &r); err != nil || len(reply) > MaxReply {
				t.Fatalf("%d bytes: %s: %v", len(reply), reply, err)
			}
		}
	})
}
