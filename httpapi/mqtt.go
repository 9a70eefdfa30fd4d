package httpapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"
)

// mqttPath is where MQTT over WebSocket is spoken.
const mqttPath = "/mqtt"

// Broker takes MQTT connections that came over WebSocket.
type Broker interface {
	// Admits says whether Serve would take a connection now.
	Admits() bool
	// Serve serves a connection and returns when it is closed. The connection has ConnectionState, as *tls.Conn does.
	Serve(c net.Conn)
}

// subprotocols are MQTT 3.1.1 and 5, and the name that 3.1 clients use.
var subprotocols = []string{"mqtt", "mqttv3.1"}

func (s *Server) routeMQTT(e *echo.Echo) {
	if s.deps.Broker != nil {
		e.GET(mqttPath, s.mqtt)
	}
}

// mqtt upgrades a request to WebSocket and hands it to the broker, on this goroutine. A browser sends its Origin: a page of this
// host may connect, others only if they are configured, since a browser would show a client certificate for any page. What is
// not a browser sends none and may; passwords are asked for in any case.
func (s *Server) mqtt(c echo.Context) error {
	r := c.Request()
	switch {
	case !offersMQTT(r):
		return c.String(http.StatusBadRequest, "connect by WebSocket with the subprotocol mqtt\n")
	case r.TLS != nil && insecureOrigin(r):
		return c.String(http.StatusForbidden, "a page that came without TLS may not connect with it\n")
	case !s.deps.Broker.Admits():
		c.Response().Header().Set("Retry-After", "1")
		return c.String(http.StatusServiceUnavailable, "too many connections\n")
	}
	h := &hijacker{Response: c.Response()}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols: subprotocols, OriginPatterns: s.cfg.MQTTOrigins, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil { // it has answered
		s.log.Debug("websocket refused", "remote", r.RemoteAddr, "error", err)
		return nil
	}
	ws.SetReadLimit(-1) // a message is a part of the stream of any length; the broker bounds packets
	s.deps.Broker.Serve(&wsConn{ws: ws, Conn: h.conn, state: r.TLS, remote: remoteAddr(r, h.conn)})
	return nil
}

func offersMQTT(r *http.Request) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			for _, known := range subprotocols {
				if strings.EqualFold(strings.TrimSpace(name), known) {
					return true
				}
			}
		}
	}
	return false
}

// insecureOrigin tells a page that anybody on its way could have written.
func insecureOrigin(r *http.Request) bool {
	u, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && strings.EqualFold(u.Scheme, "http")
}

// remoteAddr is the address of a request's client, which is not that of the connection where there is a trusted proxy before it.
func remoteAddr(r *http.Request, conn net.Conn) net.Addr {
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && r.RemoteAddr != conn.RemoteAddr().String() {
		return net.TCPAddrFromAddrPort(at)
	}
	return conn.RemoteAddr()
}

// hijacker remembers the connection that is taken over, whose deadlines are those of the WebSocket.
type hijacker struct {
	*echo.Response
	conn net.Conn
}

// Hijack takes the connection over from the server, which clears its deadlines.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := h.Response.Hijack()
	h.conn = conn
	return conn, rw, err
}

// wsConn is the stream of bytes in a WebSocket's binary messages. The own address and deadlines are those of the connection below:
// the library's own deadlines take a timer each, and close the connection where a deadline only ends a Read.
type wsConn struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader            // the one that is being read, nil between two
	state   *tls.ConnectionState // nil without TLS
	remote  net.Addr
}

var errText = errors.New("a text message is no MQTT")

// Read reads of the current message; the boundaries of messages mean nothing.
func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, m, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, streamError(err)
			}
			if kind != websocket.MessageBinary {
				_ = c.ws.CloseNow()
				return 0, errText
			}
			c.message = m
		}
		n, err := c.message.Read(p)
		if errors.Is(err, io.EOF) {
			c.message, err = nil, nil
			if n == 0 {
				continue
			}
		}
		return n, streamError(err)
	}
}

// streamError makes a polite end of the WebSocket the end of the stream.
func streamError(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return io.EOF
	}
	if err != nil {
		return fmt.Errorf("websocket: %w", err)
	}
	return nil
}

// Write writes one message.
func (c *wsConn) Write(p []byte) (int, error) {
	if err := c.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, fmt.Errorf("websocket: %w", err)
	}
	return len(p), nil
}

// Close closes the connection without the WebSocket's farewell, which would wait for an answer; MQTT has its own.
func (c *wsConn) Close() error { return c.ws.CloseNow() }

// RemoteAddr is the client's address.
func (c *wsConn) RemoteAddr() net.Addr { return c.remote }

// ConnectionState is that of TLS, with the client's certificate; empty without.
func (c *wsConn) ConnectionState() tls.ConnectionState {
	if c.state == nil {
		return tls.ConnectionState{}
	}
	return *c.state
}
