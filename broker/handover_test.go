package broker

import (
	"testing"

	"github.com/logbridge/logbridge/wire/tencent"
)

// TestContentTypeIsHandedOver: what MQTT 5 says of a payload comes with it.
func TestContentTypeIsHandedOver(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c := loggedIn(t, b, dev1, 5)
	for _, contentType := range []string{"application/json; encoding=gzip", ""} {
		pk := publishPacket(tencent.ReportTopic(dev1), "packed", 1, 7)
		pk.Properties.ContentType = contentType
		c.send(pk)
		if m := receive(t, "message", r.messages); m.ContentType != contentType || string(m.Payload) != "packed" {
			t.Errorf("%+v, want %q", m, contentType)
		}
	}
}
