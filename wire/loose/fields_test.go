package loose

import (
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// fieldsOf shows the fields of a message.
func fieldsOf(message []byte) (text string, err error) {
	f := FieldsOf(string(message))
	for f.Next() {
		text += fmt.Sprintf("%d:%d=%d,%q ", f.Tag>>3, f.Tag&7, f.Uint, f.Raw)
	}
	return text, f.Err()
}

// witnessed is fieldsOf by the protobuf module.
func witnessed(message []byte) (text string, ok bool) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 || number > protowire.MaxValidNumber {
			return text, false
		}
		message = message[n:]
		var v uint64
		var raw []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			var w uint32
			w, n = protowire.ConsumeFixed32(message)
			v = uint64(w)
		case protowire.BytesType:
			raw, n = protowire.ConsumeBytes(message)
		default: // groups, and two types that there are not
			return text, false
		}
		if n < 0 {
			return text, false
		}
		message = message[n:]
		text += fmt.Sprintf("%d:%d=%d,%q ", number, kind, v, raw)
	}
	return text, true
}

func FuzzFields(f *testing.F) {
	message := protowire.AppendTag(nil, 1, protowire.VarintType)
	message = protowire.AppendVarint(message, 1<<63+5)
	message = protowire.AppendTag(message, 2, protowire.BytesType)
	message = protowire.AppendString(message, "text\xff")
	message = protowire.AppendTag(message, 3000, protowire.Fixed64Type)
	message = protowire.AppendFixed64(message, 1<<60)
	message = protowire.AppendTag(message, protowire.MaxValidNumber, protowire.Fixed32Type)
	message = protowire.AppendFixed32(message, 7)
	f.Add(message)
	for _, bad := range []string{"", "\x08", "\x12\x05abcd", "\x00\x00", "\x0b\x0c", "7\x00", "\x09\x01", "\x0d\x01", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "\x80\x80\x80\x80\x80\x80\x80\x01\x12", "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := fieldsOf(message)
		want, ok := witnessed(message)
		if got != want || (err == nil) != ok || err != nil && !errors.Is(err, ErrFields) {
			t.Fatalf("got %s%v, want %s%v", got, err, want, ok)
		}
		text := Field{Raw: string(message)}
		if !utf8.ValidString(text.Text()) {
			t.Fatalf("%q", text.Text())
		}
	})
}

func TestSeverityWords(t *testing.T) {
	for word, want := range map[string]string{"Error": "error", " WARNING ": "warn", "fatal": "error", "Critical": "error", "notice": "info", "TRACE": "debug", "4": "debug"} {
		if level, ok := Severity(word); !ok || level.String() != want {
			t.Errorf("%q is %s, %v", word, level, ok)
		}
	}
	for _, word := range []string{"", "off", "0", "loud"} {
		if level, ok := Severity(word); ok || level.String() != "info" {
			t.Errorf("%q is %s, %v", word, level, ok)
		}
	}
}
