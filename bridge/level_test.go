package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// handle passes a message on.
func handle(t *testing.T, p parts, s logbridge.Session, topic, payload string) error {
	t.Helper()
	return p.Handle(context.Background(), s, logbridge.Message{Topic: topic, Payload: []byte(payload)})
}

// levelIn reads an answer or push.
func levelIn(t *testing.T, m sent, id logbridge.DeviceID) tencent.LevelReplyFields {
	t.Helper()
	if m.topic != tencent.OperationResultTopic(id) {
		t.Errorf("sent on %s", m.topic)
	}
	if len(m.payload) > tencent.MaxLevelReply {
		t.Errorf("%d bytes: %s", len(m.payload), m.payload)
	}
	f, err := tencent.ParseLevelReply([]byte(m.payload))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLevelIsAnswered(t *testing.T) {
	p := newParts(t, Config{})
	s := newSession(dev1)
	p.Connected(s)
	p.levels.expect(t, dev1, logbridge.DeviceConnected, 0)
	for _, token := range []string{"ABCDE12345-1", "", strings.Repeat("t", 60), strings.Repeat("t", 300)} {
		p.levels.put(dev1, logbridge.LevelWarn)
		if err := handle(t, p, s, tencent.OperationTopic(dev1), string(tencent.LevelRequestPayload(token))); err != nil {
			t.Fatal(err)
		}
		f := levelIn(t, receive(t, "answer", s.out), dev1)
		if f.Level != logbridge.LevelWarn || len(token) <= 60 && f.ClientToken != token {
			t.Errorf("answer %+v", f)
		}
		p.levels.expect(t, dev1, logbridge.LevelAsked, logbridge.LevelWarn)
	}
	p.Acked(s, tencent.OperationResultTopic(dev1), tencent.LevelReply("x", logbridge.LevelDebug, time.Now()))
	p.levels.expect(t, dev1, logbridge.LevelAcked, logbridge.LevelDebug)
	p.Acked(s, tencent.SysResultTopic(dev1), []byte(`{"type":"get"}`))
	p.Disconnected(s)
	p.levels.expect(t, dev1, logbridge.DeviceDisconnected, 0)
}

func TestMalformedQuestionsAreDropped(t *testing.T) {
	p := newParts(t, Config{})
	s := newSession(dev1)
	p.Connected(s)
	for _, payload := range []string{"", "{", `{"type":"report"}`, "[]", `"get_log_level"`, strings.Repeat("x", 5000)} {
		for _, topic := range []string{tencent.OperationTopic(dev1), tencent.SysTopic(dev1)} {
			if err := handle(t, p, s, topic, payload); !errors.Is(err, logbridge.ErrInvalid) {
				t.Errorf("%s %q: %v", topic, payload, err)
			}
		}
	}
	if got := p.Stats(); got.Malformed != 12 || got.Asked != 0 || len(s.out) > 0 {
		t.Errorf("stats %+v, %d answers", got, len(s.out))
	}
	if err := handle(t, p, s, "ABCDE12345/dev_01/data", "x"); err != nil || p.Stats().Ignored != 1 {
		t.Errorf("own data: %v, %+v", err, p.Stats())
	}
}

func TestTimeIsAnswered(t *testing.T) {
	p := newParts(t, Config{})
	s := newSession(dev1)
	p.Connected(s)
	if err := handle(t, p, s, tencent.SysTopic(dev1), `{"type": "get", "resource": ["time"]}`); err != nil {
		t.Fatal(err)
	}
	m := receive(t, "answer", s.out)
	if m.topic != tencent.SysResultTopic(dev1) || !strings.HasPrefix(m.payload, `{"type":"get","time":`) {
		t.Errorf("answer %+v", m)
	}
}

// An answer that cannot be delivered is no reason to refuse the question.
func TestDeviceThatDoesNotListen(t *testing.T) {
	p := newParts(t, Config{})
	s := newSession(dev1)
	s.send = func(sent) error { return fmt.Errorf("%w: not subscribed", logbridge.ErrNotFound) }
	p.Connected(s)
	for topic, payload := range map[string]string{
		tencent.OperationTopic(dev1): `{"type":"get_log_level"}`,
		tencent.SysTopic(dev1):       `{"type":"get","resource":["time"]}`,
	} {
		if err := handle(t, p, s, topic, payload); err != nil {
			t.Error(err)
		}
	}
	if got := p.Stats(); got.Unheard != 2 {
		t.Errorf("stats %+v", got)
	}
	p.levels.expect(t, dev1, logbridge.DeviceConnected, 0)
	if len(p.levels.observed) > 0 {
		t.Errorf("observed %+v", <-p.levels.observed)
	}
}

func TestPushReachesTheConcerned(t *testing.T) {
	for name, row := range map[string]struct {
		change logbridge.LevelChange
		want   []logbridge.DeviceID
	}{
		"device":   {logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device}, []logbridge.DeviceID{dev1}},
		"product":  {logbridge.LevelChange{Product: dev1.Product}, []logbridge.DeviceID{dev1, dev2}},
		"everyone": {logbridge.LevelChange{}, []logbridge.DeviceID{dev1, dev2, other}},
		"absent":   {logbridge.LevelChange{Product: dev1.Product, Device: "dev_99"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParts(t, Config{Pushers: 2})
			sessions := map[logbridge.DeviceID]*fakeSession{}
			for _, id := range []logbridge.DeviceID{dev1, dev2, other} {
				sessions[id] = newSession(id)
				p.Connected(sessions[id])
				<-p.levels.observed
				p.levels.put(id, logbridge.LevelDebug)
			}
			p.LevelChanged(row.change)
			for _, id := range row.want {
				if f := levelIn(t, receive(t, "push", sessions[id].out), id); f.Level != logbridge.LevelDebug || f.ClientToken != "" {
					t.Errorf("push %+v", f)
				}
				if o := receive(t, "observation", p.levels.observed); o.Event != logbridge.LevelSent || o.Level != logbridge.LevelDebug {
					t.Errorf("observed %+v", o)
				}
			}
			// Once more: all of them know it, and so the next is a device's own change.
			p.LevelChanged(row.change)
			p.levels.put(other, logbridge.LevelInfo)
			p.LevelChanged(logbridge.LevelChange{Product: other.Product, Device: other.Device})
			receive(t, "push", sessions[other].out)
			receive(t, "observation", p.levels.observed)
			for id, s := range sessions {
				if len(s.out) > 0 {
					t.Errorf("%s was sent %+v", id, <-s.out)
				}
			}
		})
	}
}

// A device that was answered with the new level is not told again.
func TestPushSkipsWhatWasAnswered(t *testing.T) {
	p := newParts(t, Config{Pushers: 1})
	s := newSession(dev1)
	p.Connected(s)
	p.levels.put(dev1, logbridge.LevelDebug)
	if err := handle(t, p, s, tencent.OperationTopic(dev1), `{"type":"get_log_level"}`); err != nil {
		t.Fatal(err)
	}
	receive(t, "answer", s.out)
	change := logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device}
	p.LevelChanged(change)
	s2 := newSession(dev2)
	p.Connected(s2)
	p.LevelChanged(logbridge.LevelChange{Product: dev2.Product, Device: dev2.Device}) // the one pusher comes to it afterwards
	receive(t, "push", s2.out)
	if got := p.Stats(); len(s.out) > 0 || got.Skipped != 1 || got.Pushed > 1 {
		t.Errorf("%d pushes, stats %+v", len(s.out), got)
	}
	// A new session knows nothing.
	again := newSession(dev1)
	p.Connected(again)
	p.LevelChanged(change)
	receive(t, "push to the new session", again.out)
}

// While a device is being sent something, changes add up to one push with the outcome, and none overtakes.
func TestLatestLevelWins(t *testing.T) {
	p := newParts(t, Config{Pushers: 8})
	s := newSession(dev1)
	entered, release := make(chan sent, 16), make(chan struct{})
	s.send = func(m sent) error {
		entered <- m
		<-release
		return nil
	}
	p.Connected(s)
	p.levels.put(dev1, logbridge.LevelWarn)
	asked := make(chan error, 1)
	go func() { asked <- handle(t, p, s, tencent.OperationTopic(dev1), `{"type":"get_log_level"}`) }()
	if f := levelIn(t, receive(t, "answer", entered), dev1); f.Level != logbridge.LevelWarn {
		t.Errorf("answer %+v", f)
	}
	for i := range 1000 {
		p.levels.put(dev1, logbridge.Level(i%4))
		p.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
	}
	p.levels.put(dev1, logbridge.LevelDebug)
	p.LevelChanged(logbridge.LevelChange{})
	// Others are not held up by it.
	s2 := newSession(dev2)
	p.Connected(s2)
	p.LevelChanged(logbridge.LevelChange{Product: dev2.Product, Device: dev2.Device})
	receive(t, "push to another device", s2.out)
	if len(entered) > 0 {
		t.Fatal("two sends to one device at a time")
	}
	close(release)
	if err := receive(t, "end of the answer", asked); err != nil {
		t.Error(err)
	}
	if f := levelIn(t, receive(t, "push", entered), dev1); f.Level != logbridge.LevelDebug {
		t.Errorf("push %+v", f)
	}
	receive(t, "answer", s.out)
	receive(t, "push", s.out)
	if len(entered) > 0 {
		t.Errorf("one more push: %+v", <-entered)
	}
}

// The end of an older session says nothing about the device.
func TestLateEndOfAnOldSession(t *testing.T) {
	p := newParts(t, Config{})
	old, current := newSession(dev1), newSession(dev1)
	p.Connected(old)
	p.Connected(current)
	p.Disconnected(old)
	for range 2 {
		p.levels.expect(t, dev1, logbridge.DeviceConnected, 0)
	}
	if len(p.levels.observed) > 0 {
		t.Errorf("observed %+v", <-p.levels.observed)
	}
	// What the old one still asks is answered there.
	if err := handle(t, p, old, tencent.OperationTopic(dev1), `{"type":"get_log_level"}`); err != nil {
		t.Fatal(err)
	}
	receive(t, "answer on the old session", old.out)
	p.LevelChanged(logbridge.LevelChange{})
	receive(t, "push on the new session", current.out)
	if n := p.Stats().Connected; n != 1 {
		t.Errorf("%d connected", n)
	}
	p.Disconnected(current)
	p.Disconnected(current)
	if n := p.Stats().Connected; n != 0 {
		t.Errorf("%d connected", n)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{Pushers: -1}, {AppendTimeout: -1}} {
		if _, err := New(cfg, newLevels(), newLog(), products{}, &fakeLedger{}, slog.New(slog.DiscardHandler)); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
