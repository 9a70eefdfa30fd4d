package bridge

import (
	"fmt"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// levelAsked answers $log/operation at once (tencent-iot.md 3.2: the C SDK waits 2 s). What is no question gets no answer: no
// SDK looks at a result code, and one with a level would set it.
func (b *Bridge) levelAsked(s logbridge.Session, payload []byte) error {
	request, err := tencent.ParseLevelRequest(payload)
	if err != nil {
		b.counters.malformed.Add(1)
		return err
	}
	b.counters.asked.Add(1)
	l := b.link(s)
	l.mu.Lock()
	defer b.release(l)
	l.stale.Store(false)
	level := b.levels.Effective(s.Device())
	if err := l.tell(level, tencent.LevelReply(request.ClientToken, level, time.Now())); err != nil {
		// It has not subscribed to the answer, or is gone already. Its question was understood.
		b.counters.unheard.Add(1)
		b.log.Debug("level asked for, answer not delivered", "device", s.Device().String(), "error", err)
		return nil
	}
	b.observe(s.Device(), logbridge.LevelAsked, level)
	return nil
}

// tell sends a level, in payload. Its caller holds mu.
func (l *link) tell(level logbridge.Level, payload []byte) error {
	id := l.session.Device()
	err := l.session.Send(tencent.OperationResultTopic(id), payload)
	if err != nil {
		return fmt.Errorf("tell %s its level: %w", id, err)
	}
	l.told = level
	l.knows.Store(true)
	return nil
}

// timeAsked answers $sys/operation (tencent-iot.md 2.4): without it the C SDKs wait 2 s before every upload and then sign
// with a timestamp of 0.
func (b *Bridge) timeAsked(s logbridge.Session, payload []byte, received time.Time) error {
	if err := tencent.ParseTimeRequest(payload); err != nil {
		b.counters.malformed.Add(1)
		return err
	}
	b.counters.timeAsked.Add(1)
	if err := s.Send(tencent.SysResultTopic(s.Device()), tencent.TimeReply(received, time.Now())); err != nil {
		b.counters.unheard.Add(1)
		b.log.Debug("time asked for, answer not delivered", "device", s.Device().String(), "error", err)
	}
	return nil
}
