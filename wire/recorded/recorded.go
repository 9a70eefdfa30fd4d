// Package recorded holds traffic recorded from real, unmodified SDKs, for tests to replay: devices of Tencent Cloud IoT over
// HTTP and MQTT, and browsers with the SDKs of Alibaba Cloud SLS and Tencent Cloud CLS. All keys in it are made up.
//
// It is for tests only; nothing else may import it, or the recordings would end up in the program. Each function reads all
// recordings of its kind and fails if one cannot be understood, so that a test that replays them leaves none out unseen.
package recorded

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed testdata
var files embed.FS

// The facts that the device recordings were made with.
const (
	// PSK is the secret of every device in key mode.
	PSK = "bXktMTYtYnl0ZS1rZXkhIQ=="
	// ProductSecret signs the registrations.
	ProductSecret = "PRODUCTSECRET0123456789A"
	// CanonicalHost is what Java signs, whatever host it sends to.
	CanonicalHost = "ap-guangzhou.gateway.tencentdevices.com"
)

// Request is one recorded HTTP request.
type Request struct {
	// Capture names the recording, Index counts its requests from 0.
	Capture string
	Index   int
	*http.Request
	// Content is the body.
	Content []byte
	// Truncated: the recording shortens the body and says so; Content is not what was sent.
	Truncated bool
}

// Packet is one recorded MQTT packet.
type Packet struct {
	Capture string
	Index   int
	// FromClient tells the device's packets from the recorder's answers.
	FromClient bool
	// Label is the recorder's description, beginning with the packet's name.
	Label string
	// Bytes are the packet as it was on the wire.
	Bytes []byte
}

// DeviceRequests are the HTTP requests of devices.
func DeviceRequests() ([]Request, error) {
	return each("testdata/device/*/http-*.raw", func(name string, data []byte) ([]Request, error) {
		capture := path.Base(path.Dir(name))
		index, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(path.Base(name), "http-"), ".raw"))
		if err != nil {
			return nil, err
		}
		r, err := readRequest(data)
		if err != nil {
			return nil, err
		}
		r.Capture, r.Index = capture, index
		return []Request{r}, nil
	})
}

// WebRequests are the HTTP requests of browsers, in the order of each recording: preflights, token requests and uploads.
func WebRequests() ([]Request, error) {
	return each("testdata/web/*.txt", func(name string, data []byte) ([]Request, error) {
		var requests []Request
		for i, section := range strings.Split("\n"+string(data), "\n### [")[1:] {
			_, section, _ = strings.Cut(section, "\n")
			section, _, _ = strings.Cut(section, "\n>>> recorder answered:")
			r, err := readSection(section)
			if err != nil {
				return nil, fmt.Errorf("request %d: %w", i, err)
			}
			r.Capture, r.Index = strings.TrimSuffix(path.Base(name), ".txt"), i
			requests = append(requests, r)
		}
		return requests, nil
	})
}

// DevicePackets are the MQTT packets of devices and the recorder's answers to them. A CONNECT begins a new connection.
func DevicePackets() ([]Packet, error) {
	return each("testdata/device/*/mqtt.txt", func(name string, data []byte) ([]Packet, error) {
		var packets []Packet
		for line := range strings.Lines(string(data)) {
			line = strings.TrimRight(line, "\n")
			if head, label, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(head, "[") {
				direction, label, _ := strings.Cut(label, " ")
				if direction == "--" { // what happened to the connection
					continue
				}
				packets = append(packets, Packet{
					Capture: path.Base(path.Dir(name)), Index: len(packets),
					FromClient: direction == "C>S", Label: label,
				})
				continue
			}
			b, err := hexLine(line)
			if err != nil || len(packets) == 0 {
				return nil, fmt.Errorf("line %q: %v", line, err)
			}
			last := &packets[len(packets)-1]
			last.Bytes = append(last.Bytes, b...)
		}
		return packets, nil
	})
}

// each reads every file that matches the pattern, of which there must be some.
func each[T any](pattern string, read func(name string, data []byte) ([]T, error)) ([]T, error) {
	var all []T
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		some, err := read(name, data)
		if err != nil {
			return nil, fmt.Errorf("recording %s: %w", name, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func readRequest(raw []byte) (Request, error) {
	parsed, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return Request{}, err
	}
	content, err := io.ReadAll(parsed.Body)
	if err != nil {
		return Request{}, err
	}
	return Request{Request: parsed, Content: content}, nil
}

// readSection reads one request of a web recording: head and body as text, the body as a hexdump if it is no UTF-8, and the
// body's length.
func readSection(section string) (Request, error) {
	section = strings.TrimLeft(section, "\n")
	head, body, _ := strings.Cut(section, "\n\n")
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n")))
	if err != nil {
		return Request{}, err
	}
	r := Request{Request: parsed}
	body, length, ok := strings.Cut(body, "\n--- body bytes: ")
	if !ok {
		return r, nil
	}
	want, err := strconv.Atoi(strings.TrimSpace(length))
	if err != nil {
		return r, err
	}
	if r.Content, err = readBody(body); err != nil {
		return r, err
	}
	r.Truncated = strings.Contains(body, "\n...[body is ")
	if len(r.Content) != want && !r.Truncated {
		return r, fmt.Errorf("body of %d bytes, recorded were %d", len(r.Content), want)
	}
	return r, nil
}

func readBody(text string) ([]byte, error) {
	dump, ok := strings.CutPrefix(text, "(binary or not valid UTF-8; hexdump)\n")
	if !ok {
		return []byte(text), nil
	}
	var body []byte
	for line := range strings.SplitSeq(dump, "\n") {
		b, err := hexLine(line)
		if err != nil {
			return nil, err
		}
		body = append(body, b...)
	}
	return body, nil
}

// hexLine reads a line of a hexdump: offset, bytes, and the text of them, which is set off by two spaces.
func hexLine(line string) ([]byte, error) {
	_, rest, ok := strings.Cut(strings.TrimLeft(line, " "), "  ")
	if !ok {
		return nil, fmt.Errorf("no hexdump: %q", line)
	}
	digits, _, _ := strings.Cut(rest, "  ")
	return hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
}
