package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The clients of the benchmark write prepared bytes and read no more than they must, since they run on the cores of what
// they measure.

// rawHTTP is one keep-alive connection.
type rawHTTP struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialHTTP(addr string) (*rawHTTP, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &rawHTTP{conn, bufio.NewReaderSize(conn, 4096)}, nil
}

// rawRequest is a POST as bytes.
func rawRequest(path string, body []byte) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// do sends a request and wants status 200.
func (c *rawHTTP) do(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("answer %q", line)
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			_, err := c.in.Discard(length)
			return err
		}
	}
}

// rawMQTT is one device's connection.
type rawMQTT struct {
	conn     net.Conn
	in       *bufio.Reader
	question []byte
}

// dialMQTT logs in and subscribes the result topic at QoS 0, as most SDKs do.
func dialMQTT(addr string, id logbridge.DeviceID, psk string) (*rawMQTT, error) {
	connect, err := connectPacket(id, psk)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := newRawMQTT(conn, id)
	for _, p := range [][]byte{connect, subscribePacket(tencent.OperationResultTopic(id), 0)} {
		if _, err := conn.Write(p); err != nil {
			return nil, err
		}
		if err := c.read(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// newRawMQTT is a device on a connection, which has said nothing yet.
func newRawMQTT(conn net.Conn, id logbridge.DeviceID) *rawMQTT {
	publish := append(text(nil, tencent.OperationTopic(id)), tencent.LevelRequestPayload(id.Product+"-1")...)
	return &rawMQTT{conn, bufio.NewReaderSize(conn, 512), packet(0x30, publish)}
}

// connectPacket is a login as the C SDK makes it.
func connectPacket(id logbridge.DeviceID, psk string) ([]byte, error) {
	user := tencent.UserName(id, "bench", farFuture)
	password, err := tencent.Password(psk, user, tencent.HMACSHA1)
	if err != nil {
		return nil, err
	}
	const protocol311, userPasswordClean = 4, 0xC2
	const keepAlive = 900 // s; every SDK has one, and the longest (tencent-iot.md 2) outlasts a benchmark, whose devices send no PINGREQ
	connect := binary.BigEndian.AppendUint16(append(text(nil, "MQTT"), protocol311, userPasswordClean), keepAlive)
	return packet(0x10, text(text(text(connect, tencent.ClientID(id)), user), password)), nil
}

func subscribePacket(filter string, qos byte) []byte {
	return packet(0x82, append(text([]byte{0, 1}, filter), qos))
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func packet(head byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...) // MQTT's lengths are uvarints
}

// read takes one packet.
func (c *rawMQTT) read() error {
	_, err := c.take()
	return err
}

// take reads one packet, acknowledges it if it is a PUBLISH at QoS 1, and returns its first byte.
func (c *rawMQTT) take() (head byte, err error) {
	head, body, err := readPacket(c.in)
	if err != nil {
		return 0, err
	}
	switch {
	case head == 0x20 && body[1] != 0:
		return 0, fmt.Errorf("login refused: %d", body[1])
	case head&0xF6 == 0x32: // PUBLISH at QoS 1
		id := body[2+binary.BigEndian.Uint16(body):]
		_, err = c.conn.Write([]byte{0x40, 2, id[0], id[1]})
	}
	return head, err
}

// readPacket reads one packet that fits into the reader's buffer. The body is valid until the next read.
func readPacket(in *bufio.Reader) (head byte, body []byte, err error) {
	if head, err = in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, nil, err
	}
	body, err = in.Peek(int(n))
	if err != nil {
		return 0, nil, err
	}
	_, err = in.Discard(int(n)) // what was peeked stays in the buffer
	return head, body, err
}

// ask makes one round trip.
func (c *rawMQTT) ask() error {
	if _, err := c.conn.Write(c.question); err != nil {
		return err
	}
	return c.read()
}
