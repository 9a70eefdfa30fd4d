package levels

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
)

// Bounds of a change.
const (
	minFor = time.Second // shorter than a device needs to hear of it (design.md 7)
	// maxFor bounds a lowering, which Config.Cap does not: beyond it someone has mistaken the unit.
	maxFor = 10 * 365 * 24 * time.Hour
	// maxReason bounds a reason in bytes: a sentence that fits into a marker line.
	maxReason = 500
)

// Change is a level for one device.
type Change struct {
	Level logbridge.Level
	// For is how long, at least a second; 0 is not said. A raise above the base lasts Config.Default then, anything
	// else until it is changed.
	For time.Duration
	// Permanent must be said for a raise without an end.
	Permanent bool
	// Reason must be given.
	Reason string
	By     logbridge.Actor
}

// Set gives a device its own level, in place of a former one, whose end is cancelled thereby. When it returns, the change
// is durable, visible in Effective and recorded, and the listeners are being told. ErrInvalid, which is recorded: a change
// without a reason, a length that is not allowed, a name or level that does not exist. Whether the device is registered is
// not asked here.
func (l *Levels) Set(ctx context.Context, id logbridge.DeviceID, c Change) (logbridge.LevelState, error) {
	if err := id.Validate(); err != nil {
		return logbridge.LevelState{}, err // there is no stream of that name to record it in
	}
	c.Reason = strings.TrimSpace(c.Reason)
	before := l.want(id)
	length, err := l.length(c, before.base)
	if err != nil {
		l.Refused(ctx, id, fmt.Sprintf("log level %s", c.Level), c.By, err)
		return logbridge.LevelState{}, err
	}
	now := l.now()
	r := rule{Level: c.Level, Reason: c.Reason, By: c.By, SetAt: now, Since: now}
	if length > 0 {
		r.Expires = now.Add(length)
	}
	if before.level == r.Level {
		r.Since = before.since
	}
	if err := l.rules.Put(ctx, id, r); err != nil {
		return logbridge.LevelState{}, fmt.Errorf("set level of %s: %w", id, err)
	}
	l.appendAudit(ctx, l.setRecords(id, before.level, r, length))
	return l.State(id), nil
}

// length checks a change, and says how long it lasts; 0 is until the next.
func (l *Levels) length(c Change, base logbridge.Level) (time.Duration, error) {
	if err := check(c.Level, c.By, c.Reason); err != nil {
		return 0, err
	}
	raise := c.Level > base
	switch {
	case c.Reason == "":
		return 0, fmt.Errorf("%w: a change of level needs a reason", logbridge.ErrInvalid)
	case c.Permanent && c.For != 0:
		return 0, fmt.Errorf("%w: a change is permanent or for %s, not both", logbridge.ErrInvalid, c.For)
	case c.For != 0 && c.For < minFor:
		return 0, fmt.Errorf("%w: a change for %s is too short, %s is the least", logbridge.ErrInvalid, c.For, minFor)
	case raise && c.For > l.cfg.Cap:
		return 0, fmt.Errorf("%w: a raise for %s is too long, %s is the most unless it is said to be permanent", logbridge.ErrInvalid, c.For, l.cfg.Cap)
	case c.For > maxFor:
		return 0, fmt.Errorf("%w: a change for %s is too long, %s is the most", logbridge.ErrInvalid, c.For, maxFor)
	case raise && c.For == 0 && !c.Permanent:
		return l.cfg.Default, nil
	}
	return c.For, nil
}

// Clear ends a device's own level before its time; ErrNotFound when it has none.
func (l *Levels) Clear(ctx context.Context, id logbridge.DeviceID, by logbridge.Actor, reason string) error {
	reason = strings.TrimSpace(reason)
	if err := check(logbridge.LevelOff, by, reason); err != nil {
		return err
	}
	r := l.own(id)
	if r == nil {
		return noOwn("device", id.String())
	}
	done, err := l.rules.Delete(ctx, id)
	if err != nil {
		return fmt.Errorf("clear level of %s: %w", id, err)
	}
	if !done {
		return noOwn("device", id.String())
	}
	l.appendAudit(ctx, l.clearRecords(id, r.Level, by, reason))
	return nil
}

func noOwn(what, name string) error {
	return fmt.Errorf("%w: %s %s has no level of its own", logbridge.ErrNotFound, what, name)
}

// SetBase sets the base level of a product, or with "" of everyone. It stays until it is changed. Setting what is set
// already does nothing.
func (l *Levels) SetBase(ctx context.Context, product string, level logbridge.Level, by logbridge.Actor, reason string) error {
	reason = strings.TrimSpace(reason)
	s := scope{Product: product}
	if product != "" {
		if err := logbridge.ValidateProductID(product); err != nil {
			return err
		}
	}
	if err := check(level, by, reason); err != nil {
		l.Refused(ctx, s, fmt.Sprintf("base level %s", level), by, err)
		return err
	}
	var before logbridge.Level
	done, err := l.rules.Change(ctx, s, func(set *rule) (rule, bool) {
		now := l.now()
		r := rule{Level: level, Reason: reason, By: by, SetAt: now, Since: now}
		if former := l.base(product); former != nil && former.Level == level {
			r.Since = former.Since
		}
		before = l.Base(product)
		return r, set == nil || set.Level != level
	})
	if err != nil {
		return fmt.Errorf("set base level: %w", err)
	}
	if !done {
		return nil
	}
	l.appendAudit(ctx, l.baseRecords(actionBaseSet, product, before, level, by, reason))
	return nil
}

// ClearBase lets a product follow everyone's base level again, as when it is deleted; ErrNotFound when it does already.
// With "" it restores the configured base level of everyone.
func (l *Levels) ClearBase(ctx context.Context, product string, by logbridge.Actor, reason string) error {
	reason = strings.TrimSpace(reason)
	if err := check(logbridge.LevelOff, by, reason); err != nil {
		return err
	}
	before := l.Base(product)
	done, err := l.rules.Delete(ctx, scope{Product: product})
	if err != nil {
		return fmt.Errorf("clear base level: %w", err)
	}
	if !done {
		return noOwn("product", product)
	}
	l.appendAudit(ctx, l.baseRecords(actionBaseClear, product, before, l.Base(product), by, reason))
	return nil
}

// Forget drops all that is known of a device that was deleted, its own level included, so that a new device of the name
// starts afresh.
func (l *Levels) Forget(ctx context.Context, id logbridge.DeviceID, by logbridge.Actor) error {
	err := l.Clear(ctx, id, by, "device deleted")
	if err != nil && !errors.Is(err, logbridge.ErrNotFound) {
		return err
	}
	l.fleet.forget(id, l.share)
	return nil
}

// now is the time of a change: a time of day, as it will be read from the store.
func (l *Levels) now() time.Time { return l.clock.now().UTC().Round(0) }

// check checks what every change has.
func check(level logbridge.Level, by logbridge.Actor, reason string) error {
	switch {
	case !level.Valid():
		return fmt.Errorf("%w: level %d", logbridge.ErrInvalid, level)
	case by.Name == "":
		return fmt.Errorf("%w: a change needs someone who makes it", logbridge.ErrInvalid)
	case len(reason) > maxReason:
		return fmt.Errorf("%w: reason of %d bytes, %d are the most", logbridge.ErrInvalid, len(reason), maxReason)
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl):
		return fmt.Errorf("%w: a reason is one line of UTF-8 text", logbridge.ErrInvalid)
	}
	return nil
}
