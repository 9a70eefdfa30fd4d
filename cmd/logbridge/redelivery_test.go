package main

import (
	"syscall"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// TestRedeliveryIsStoredOnce: a device that did not see the PUBACK sends its report again, with the DUP flag, over another
// connection; the server may have been killed meanwhile.
func TestRedeliveryIsStoredOnce(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(anyone, anyone)
	const first, again = 0x32, 0x3a // PUBLISH at QoS 1, without and with DUP
	send := func(head byte, payload string) {
		t.Helper()
		c, err := dialMQTT(s.addr("mqtt"), device("dev_01"), e2ePSK)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.conn.Close() }()
		publish := append(text(nil, tencent.ReportTopic(device("dev_01"))), 0, 7)
		if _, err = c.conn.Write(packet(head, append(publish, payload...))); err == nil {
			err = c.read() // the PUBACK
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	send(first, "ERR one\n[1] two")
	send(again, "ERR one\n[1] two")
	s.stop(syscall.SIGKILL)
	s = home.start(anyone, anyone)
	send(again, "ERR one\n[1] two")
	send(again, "three") // its first delivery never came
	wantBodies(t, s.records("source=mqtt"), "[1] two", "one", "three")
	l := s.ledger()
	wantLedgerSum(t, l)
	if c := l.Sources[logbridge.SourceMQTT]; c.Received != 7 || c.Duplicate != 4 {
		t.Errorf("%+v", c)
	}
}
