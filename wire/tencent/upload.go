package tencent

import (
	"fmt"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// MaxLines bounds the lines of one upload or report. Java puts its whole queue, up to 10000 lines, into one (4.1).
const MaxLines = 16384

// Upload is the body of POST /device/reportlog.
type Upload struct {
	Device logbridge.DeviceID
	// Messages are single lines: elements that held several are split already (SplitLines would change nothing).
	Messages []string
}

// ParseUpload reads a body (4.1): a JSON object with ProductId, DeviceName and Message, an array of strings or one string;
// other members are ignored. ErrInvalid when a member is missing or the names are none, ErrTooLarge beyond MaxLines. The
// size of the body is for the caller to bound.
func ParseUpload(body []byte) (Upload, error) {
	var (
		u          Upload
		hasMessage bool
	)
	s := loose.ScanBody(body)
	for s.Enter('{'); s.Next(); {
		switch s.Key() {
		case "ProductId":
			u.Device.Product = s.Text()
		case "DeviceName":
			u.Device.Device = s.Text()
		case "Message":
			hasMessage = true
			if s.Peek() != '[' {
				u.Messages = readLines(&s, u.Messages)
				continue
			}
			for s.Enter('['); s.Next(); {
				u.Messages = readLines(&s, u.Messages)
			}
		default:
			s.Raw()
		}
	}
	if err := s.End(); err != nil {
		return Upload{}, fmt.Errorf("upload: %w", asKind(err))
	}
	if err := u.Device.Validate(); err != nil {
		return Upload{}, fmt.Errorf("upload: %w", err)
	}
	if !hasMessage {
		return Upload{}, fmt.Errorf("%w: upload: Message is missing", logbridge.ErrInvalid)
	}
	return u, nil
}

// readLines adds the lines of the next value.
func readLines(s *loose.Scanner, lines []string) []string {
	lines, ok := appendLines(lines, s.Text(), lineEnd, MaxLines)
	if !ok {
		s.Fail(errTooManyLines)
	}
	return lines
}

var errTooManyLines = fmt.Errorf("%w: more than %d lines", logbridge.ErrTooLarge, MaxLines)

// asKind makes a scanner's fault an error of this system.
func asKind(err error) error {
	if err == errTooManyLines {
		return err
	}
	return fmt.Errorf("%w: %w", logbridge.ErrInvalid, err)
}

// EncodeUpload is the body as a device sends it, one element a line.
func EncodeUpload(id logbridge.DeviceID, messages []string) []byte {
	body := loose.AppendString([]byte(`{"DeviceName":`), id.Device)
	body = append(body, `,"Message":[`...)
	for i, message := range messages {
		if i > 0 {
			body = append(body, ',')
		}
		body = loose.AppendString(body, message)
	}
	return append(loose.AppendString(append(body, `],"ProductId":`...), id.Product), '}')
}
