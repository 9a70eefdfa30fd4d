package levels

import (
	"context"
	"fmt"

	"github.com/logbridge/logbridge"
)

// Lower is Set for who only wants less of a device, such as a quota that it is over: a device that has a level of its own, since
// someone wants just that of it, keeps it, also if it gets it at this moment, and so does one that is to log no more than that
// anyway. false says that it kept it.
func (l *Levels) Lower(ctx context.Context, id logbridge.DeviceID, c Change) (bool, error) {
	if err := id.Validate(); err != nil {
		return false, err
	}
	_, revision := l.rules.Get(id)
	before := l.want(id)
	if before.own || before.level <= c.Level {
		return false, nil
	}
	length, err := l.length(c, before.base)
	if err != nil {
		return false, err
	}
	now := l.now()
	r := rule{Level: c.Level, Reason: c.Reason, By: c.By, SetAt: now, Since: now}
	if length > 0 {
		r.Expires = now.Add(length)
	}
	done, err := l.rules.PutIf(ctx, id, r, revision)
	if err != nil {
		return false, fmt.Errorf("lower level of %s: %w", id, err)
	}
	if done {
		l.appendAudit(ctx, l.setRecords(id, before.level, r, length))
	}
	return done, nil
}
