package bridge

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/broker"
	"github.com/logbridge/logbridge/wire/recorded"
	"github.com/logbridge/logbridge/wire/tencent"
)

var _ broker.Handler = (*Bridge)(nil)

// Every recorded packet of a real SDK, byte for byte, gets the answer that the SDK waits for.
func TestRecordedDevices(t *testing.T) {
	packets, err := recorded.DevicePackets()
	if err != nil {
		t.Fatal(err)
	}
	p := newParts(t, Config{})
	p.levels.put(dev1, logbridge.LevelDebug)
	b := startBroker(t, p)
	var w *wire
	answered := map[string]int{}
	for _, recording := range packets {
		if !recording.FromClient {
			continue
		}
		kind, _, _ := strings.Cut(recording.Label, " ")
		name := fmt.Sprint(recording.Capture, " ", recording.Index, " ", kind)
		if kind == "CONNECT" {
			if w != nil {
				w.Close()
			}
			w = dial(t, b, 4)
		}
		if w == nil {
			continue // a connection that was refused
		}
		w.raw(recording.Bytes)
		answered[kind]++
		switch kind {
		case "CONNECT":
			want := byte(0)
			if !strings.Contains(recording.Label, `"password"`) {
				want = 5 // a certificate device, whose proof the recording cannot hold
			}
			if ack := w.expect(connack); ack.body[0] != 0 || ack.body[1] != want {
				t.Errorf("%s: CONNACK % x", name, ack.body)
			}
			if want != 0 {
				w = nil
			}
		case "SUBSCRIBE":
			if ack := w.expect(suback); string(ack.body[:2]) != string(recording.Bytes[2:4]) || ack.body[2] > 1 {
				t.Errorf("%s: SUBACK % x", name, ack.body)
			}
		case "UNSUBSCRIBE":
			w.expect(11)
		case "PINGREQ":
			w.expect(13)
		case "PUBLISH":
			expectAnswer(t, w, name, recording.Label)
		case "DISCONNECT":
			if _, err := w.next(); err != io.EOF {
				t.Errorf("%s: %v, want the end", name, err)
			}
		default:
			t.Errorf("%s: what is it?", name)
		}
	}
	if answered["CONNECT"] < 10 || answered["SUBSCRIBE"] < 15 || answered["PUBLISH"] < 20 {
		t.Errorf("packets replayed: %v", answered)
	}
}

// expectAnswer reads what a recorded PUBLISH is answered with.
func expectAnswer(t *testing.T, w *wire, name, label string) {
	t.Helper()
	switch {
	case strings.Contains(label, " $log/operation/"):
		answer := w.expect(publish)
		f, err := tencent.ParseLevelReply([]byte(answer.payload))
		if err != nil || answer.topic != tencent.OperationResultTopic(dev1) || f.Level != logbridge.LevelDebug ||
			!strings.Contains(label, f.ClientToken) || f.ClientToken == "" || len(answer.payload) > tencent.MaxLevelReply {
			t.Errorf("%s: answered with %s %s", name, answer.topic, answer.payload)
		}
	case strings.Contains(label, " $sys/operation/"):
		if answer := w.expect(publish); answer.topic != tencent.SysResultTopic(dev1) || !strings.Contains(answer.payload, `"time":`) {
			t.Errorf("%s: answered with %s %s", name, answer.topic, answer.payload)
		}
	}
	if strings.Contains(label, " q1 ") {
		w.expect(puback)
	}
}

// each runs a test for every protocol version and QoS of the subscription.
func each(t *testing.T, test func(t *testing.T, version, qos byte)) {
	for _, version := range []byte{3, 4, 5} {
		for qos := range byte(2) {
			t.Run(fmt.Sprintf("v%d QoS %d", version, qos), func(t *testing.T) { test(t, version, qos) })
		}
	}
}

// listen logs a device in and lets it ask.
func listen(t *testing.T, b *broker.Broker, version, qos byte) (*wire, logbridge.Level) {
	t.Helper()
	w := dial(t, b, version)
	w.login(dev1)
	w.subscribe(tencent.OperationResultTopic(dev1), qos)
	w.publish(tencent.OperationTopic(dev1), `{"type":"get_log_level","clientToken":"t-1"}`, 0, 0)
	return w, w.level(qos, "t-1")
}

// level reads an answer or push and acknowledges it.
func (w *wire) level(qos byte, token string) logbridge.Level {
	w.Helper()
	m := w.expect(publish)
	f, err := tencent.ParseLevelReply([]byte(m.payload))
	if err != nil || f.ClientToken != token || m.topic != tencent.OperationResultTopic(dev1) || m.flags != qos<<1 {
		w.Fatalf("got %s %s, flags %x: %v", m.topic, m.payload, m.flags, err)
	}
	if qos > 0 {
		w.puback(m.id)
	}
	return f.Level
}

func TestAskAndPush(t *testing.T) {
	each(t, func(t *testing.T, version, qos byte) {
		p := newParts(t, Config{})
		b := startBroker(t, p)
		w, level := listen(t, b, version, qos)
		if level != logbridge.LevelError {
			t.Errorf("answer %s", level)
		}
		p.levels.expect(t, dev1, logbridge.DeviceConnected, 0)
		p.levels.expect(t, dev1, logbridge.LevelAsked, logbridge.LevelError)
		if qos > 0 {
			p.levels.expect(t, dev1, logbridge.LevelAcked, logbridge.LevelError)
		}
		p.levels.put(dev1, logbridge.LevelDebug)
		p.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
		if got := w.level(qos, ""); got != logbridge.LevelDebug {
			t.Errorf("push %s", got)
		}
		if qos > 0 { // the PUBACK may be seen before the pusher is back from sending
			p.levels.expectAll(t, dev1, logbridge.LevelDebug, logbridge.LevelSent, logbridge.LevelAcked)
		} else {
			p.levels.expect(t, dev1, logbridge.LevelSent, logbridge.LevelDebug)
		}
		w.Close()
		p.levels.expect(t, dev1, logbridge.DeviceDisconnected, 0)
	})
}

// A change while the device is away reaches it when it asks.
func TestAbsentDevice(t *testing.T) {
	p := newParts(t, Config{})
	b := startBroker(t, p)
	each(t, func(t *testing.T, version, qos byte) {
		w, _ := listen(t, b, version, qos)
		w.Close()
		wanted := logbridge.Level(2 + int(version+qos)%3)
		p.levels.put(dev1, wanted)
		p.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
		if _, got := listen(t, b, version, qos); got != wanted {
			t.Errorf("answer %s, want %s", got, wanted)
		}
	})
}

// A device that is slow to acknowledge is told the newest level next, not every one in between.
func TestLatestLevelWinsOnTheWire(t *testing.T) {
	each(t, func(t *testing.T, version, qos byte) {
		if qos == 0 {
			return // nothing waits
		}
		p := newParts(t, Config{})
		b := startBroker(t, p)
		w, _ := listen(t, b, version, qos)
		change := func(level logbridge.Level) {
			p.levels.put(dev1, level)
			p.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
			for {
				if o := receive(t, "observation", p.levels.observed); o.Event == logbridge.LevelSent && o.Level == level {
					return
				}
			}
		}
		change(logbridge.LevelWarn)
		held := w.expect(publish)
		for _, level := range []logbridge.Level{logbridge.LevelInfo, logbridge.LevelOff, logbridge.LevelError, logbridge.LevelDebug} {
			change(level)
		}
		w.puback(held.id)
		if got := w.level(qos, ""); got != logbridge.LevelDebug {
			t.Errorf("after the PUBACK: %s", got)
		}
		w.publish(tencent.ReportTopic(dev1), "x", 2, 9)
		w.expect(puback) // and no other push before it
	})
}

func TestReportOnTheWire(t *testing.T) {
	for _, version := range []byte{3, 4, 5} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			p := newParts(t, Config{})
			release, arrived := make(chan error), make(chan struct{}, 1)
			p.log.append = func(context.Context, logbridge.Batch) error {
				arrived <- struct{}{}
				return <-release
			}
			b := startBroker(t, p)
			w := dial(t, b, version)
			w.login(dev1)
			w.subscribe(tencent.OperationResultTopic(dev1), 0)
			w.publish(tencent.ReportTopic(dev1), `["ERR|a","INF|b"]`, 2, 9)
			receive(t, "append", arrived)
			// A push is written while the report waits: had a PUBACK gone out, it would have come first.
			p.levels.put(dev1, logbridge.LevelDebug)
			p.LevelChanged(logbridge.LevelChange{})
			w.level(0, "")
			release <- nil
			if ack := w.expect(puback); ack.body[1] != 9 {
				t.Errorf("PUBACK % x", ack.body)
			}
			if n := len(receive(t, "batch", p.log.batches).Records); n != 2 {
				t.Errorf("%d records", n)
			}
			// The sink cannot take it now.
			w.publish(tencent.ReportTopic(dev1), "again", 2, 10)
			receive(t, "append", arrived)
			release <- fmt.Errorf("%w: disk full", logbridge.ErrUnavailable)
			if version == 5 {
				if ack := w.expect(puback); ack.body[1] != 10 || ack.body[2] < 0x80 {
					t.Errorf("PUBACK % x", ack.body)
				}
			} else if got, err := w.next(); err == nil {
				t.Errorf("packet type %d instead of the end", got.kind)
			}
			// A new connection, the same message: it was not stored, and so it is now. The one after it is.
			again := dial(t, b, version)
			again.login(dev1)
			again.publish(tencent.ReportTopic(dev1), "again", 2|8, 10)
			receive(t, "append", arrived)
			release <- nil
			again.expect(puback)
			again.publish(tencent.ReportTopic(dev1), "again", 2|8, 10)
			again.expect(puback)
			if len(p.log.batches) != 1 {
				t.Errorf("%d batches, want 1", len(p.log.batches))
			}
			// What can never succeed is acknowledged.
			again.publish(tencent.OperationTopic(dev1), "{", 2, 11)
			again.expect(puback)
		})
	}
}

// An independent client: paho, as 3.1 and 3.1.1.
func TestPahoDevice(t *testing.T) {
	for _, version := range []uint{3, 4} {
		p := newParts(t, Config{})
		b := startBroker(t, p)
		user := tencent.UserName(dev1, "AbCdE", time.Time{})
		password, err := tencent.Password(recorded.PSK, user, tencent.HMACSHA256)
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan string, 8)
		options := mqtt.NewClientOptions().AddBroker("tcp://" + b.Addr().String()).SetProtocolVersion(version).
			SetClientID(tencent.ClientID(dev1)).SetUsername(user).SetPassword(password).SetAutoReconnect(false)
		c := mqtt.NewClient(options)
		wait := func(what string, token mqtt.Token) {
			t.Helper()
			if !token.WaitTimeout(patience) || token.Error() != nil {
				t.Fatalf("%s: %v", what, token.Error())
			}
		}
		wait("connect", c.Connect())
		wait("subscribe", c.Subscribe(tencent.OperationResultTopic(dev1), 1, func(_ mqtt.Client, m mqtt.Message) { heard <- string(m.Payload()) }))
		wait("ask", c.Publish(tencent.OperationTopic(dev1), 1, false, tencent.LevelRequestPayload("t")))
		if got := receive(t, "answer", heard); !strings.Contains(got, `"log_level":1`) {
			t.Errorf("answer %s", got)
		}
		p.levels.put(dev1, logbridge.LevelDebug)
		p.LevelChanged(logbridge.LevelChange{Product: dev1.Product})
		if got := receive(t, "push", heard); !strings.Contains(got, `"log_level":4`) {
			t.Errorf("push %s", got)
		}
		wait("report", c.Publish(tencent.ReportTopic(dev1), 1, false, "DBG|2026-11-21 10:55:44|main.c|now it talks"))
		if r := receive(t, "batch", p.log.batches).Records; len(r) != 1 || r[0].Body != "now it talks" {
			t.Errorf("records %+v", r)
		}
		c.Disconnect(100)
	}
}

// Changes, questions and reconnects all at once: in the end each device knows the level in force.
func TestLevelsSettle(t *testing.T) {
	p := newParts(t, Config{Pushers: 4})
	b := startBroker(t, p)
	w, _ := listen(t, b, 4, 1)
	var changes sync.WaitGroup
	for i := range 4 {
		changes.Go(func() {
			for range 100 {
				p.levels.put(dev1, logbridge.Level(i))
				p.LevelChanged(logbridge.LevelChange{Product: dev1.Product})
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		changes.Wait()
		p.levels.put(dev1, logbridge.LevelDebug)
		p.LevelChanged(logbridge.LevelChange{})
	}()
	for w.level(1, "") != logbridge.LevelDebug {
	}
	<-done
}
