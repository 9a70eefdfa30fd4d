package levels

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// maxRules bounds the rules for many devices: a device that is seen for the first time is matched against all of its
// product's, in microseconds.
const maxRules = 1000

// ruleIDLength in letters and digits makes ids that are not guessed twice and can be typed.
const ruleIDLength = 10

// mostPriority bounds priorities, so that there is always one above and below.
const mostPriority = 1_000_000

// AddRule gives all devices that a selector means a level. When it returns, the rule is durable, in force and recorded, and
// the listeners are being told of the connected devices whose level it changes. A dry run only checks and counts; its rule
// has no id. ErrInvalid, which is recorded unless it is a dry run: a selector that says nothing or is wrong, a change without
// a reason, a length that is not allowed.
func (l *Levels) AddRule(ctx context.Context, wish logbridge.RuleWish) (logbridge.LevelRule, logbridge.RuleReach, error) {
	r, length, err := l.planRule(wish)
	if err != nil {
		if !wish.DryRun {
			l.Refused(ctx, scope{Product: wish.Selector.Product}, fmt.Sprintf("log level %s for %s", wish.Level, wish.Selector), wish.By, err)
		}
		return logbridge.LevelRule{}, logbridge.RuleReach{}, err
	}
	parts, before := l.survey(&r, nil, l.clock.now())
	if wish.DryRun {
		return r.LevelRule, before, nil
	}
	r.ID = strings.ToLower(rand.Text()[:ruleIDLength])
	if err := l.putRule(ctx, r); err != nil {
		if errors.Is(err, logbridge.ErrInvalid) {
			l.Refused(ctx, scope{Product: wish.Selector.Product}, fmt.Sprintf("log level %s for %s", wish.Level, wish.Selector), wish.By, err)
		}
		return logbridge.LevelRule{}, logbridge.RuleReach{}, err
	}
	reach := l.recordRule(ctx, ruleEvent{action: actionRuleSet, rule: &r, by: wish.By, reason: r.Reason, length: length, before: before, parts: parts})
	return r.LevelRule, reach, nil
}

// planRule checks a wish.
func (l *Levels) planRule(wish logbridge.RuleWish) (r wide, length time.Duration, err error) {
	if err := wish.Selector.Validate(); err != nil {
		return r, 0, err
	}
	if wish.Priority < -mostPriority || wish.Priority > mostPriority {
		return r, 0, fmt.Errorf("%w: a priority is between %d and %d", logbridge.ErrInvalid, -mostPriority, mostPriority)
	}
	wish.Reason = strings.TrimSpace(wish.Reason)
	c := Change{wish.Level, wish.For, wish.Permanent, wish.Reason, wish.By}
	if length, err = l.length(c, l.lowestBase(wish.Selector.Product)); err != nil {
		return r, 0, err
	}
	now := l.now()
	rule := logbridge.LevelRule{Selector: wish.Selector, Priority: wish.Priority, Level: wish.Level, Reason: wish.Reason,
		SetBy: wish.By, Created: now, ChangedAt: now}
	if length > 0 {
		rule.Expires = now.Add(length)
	}
	return newWide(rule), length, nil
}

// putRule stores a new rule if there is place for one.
func (l *Levels) putRule(ctx context.Context, r wide) error {
	l.adding.Lock()
	defer l.adding.Unlock()
	if l.wides.Len() >= maxRules {
		return fmt.Errorf("%w: there are %d rules already, which are the most: clear some", logbridge.ErrInvalid, maxRules)
	}
	done, err := l.wides.PutIf(ctx, r.ID, r, 0)
	if err == nil && !done {
		err = fmt.Errorf("%w: the id %s is taken", logbridge.ErrUnavailable, r.ID)
	}
	if err != nil {
		return fmt.Errorf("add level rule: %w", err)
	}
	return nil
}

// lowestBase is the level above which a rule raises some device of the product; of "", of any product.
func (l *Levels) lowestBase(product string) logbridge.Level {
	lowest := l.Base(product)
	if product != "" {
		return lowest
	}
	for s, r := range l.rules.After(scope{}) {
		if s.Device == "" && s.Product != "" {
			lowest = min(lowest, r.Level)
		}
	}
	return lowest
}

// ChangeRule gives a rule another end, reckoned from now, another percentage, or both. The same rules hold as for a new one.
// ErrNotFound when it is over.
func (l *Levels) ChangeRule(ctx context.Context, id string, c logbridge.RuleChange) (logbridge.LevelRule, logbridge.RuleReach, error) {
	former, revision := l.wides.Get(id)
	if former == nil || !former.live(l.clock.now()) {
		return logbridge.LevelRule{}, logbridge.RuleReach{}, noRule(id)
	}
	r, length, err := l.replan(former, c)
	if err != nil {
		l.Refused(ctx, scope{Product: former.Selector.Product}, "change of level rule "+id, c.By, err)
		return logbridge.LevelRule{}, logbridge.RuleReach{}, err
	}
	parts, before := l.survey(&r, former, l.clock.now())
	done, err := l.wides.PutIf(ctx, id, r, revision)
	switch {
	case err != nil:
		return logbridge.LevelRule{}, logbridge.RuleReach{}, fmt.Errorf("change level rule %s: %w", id, err)
	case !done:
		return logbridge.LevelRule{}, logbridge.RuleReach{}, fmt.Errorf("%w: level rule %s has just changed or ended", logbridge.ErrNotFound, id)
	}
	reach := l.recordRule(ctx, ruleEvent{action: actionRuleChange, rule: &r, by: c.By, reason: r.Reason, length: length, before: before, parts: parts})
	return r.LevelRule, reach, nil
}

// replan is what becomes of a rule by a change.
func (l *Levels) replan(former *wide, c logbridge.RuleChange) (wide, time.Duration, error) {
	rule, now := former.LevelRule, l.now()
	if c.For == 0 && !c.Permanent && c.Percent == 0 {
		return wide{}, 0, fmt.Errorf("%w: nothing to change: say for how long, or for which percent", logbridge.ErrInvalid)
	}
	rule.SetBy, rule.ChangedAt, rule.Reason = c.By, now, cmp.Or(strings.TrimSpace(c.Reason), rule.Reason)
	rule.Selector.Percent = cmp.Or(c.Percent, rule.Selector.Percent)
	if err := rule.Selector.Validate(); err != nil {
		return wide{}, 0, err
	}
	length, err := l.length(Change{rule.Level, c.For, c.Permanent, rule.Reason, c.By}, l.lowestBase(rule.Selector.Product))
	if err != nil {
		return wide{}, 0, err
	}
	switch {
	case c.Permanent:
		rule.Expires = time.Time{}
	case c.For > 0:
		rule.Expires = now.Add(length)
	default:
		length = max(0, rule.Expires.Sub(now))
	}
	return newWide(rule), length, nil
}

// ClearRule ends a rule before its time; ErrNotFound when it is over.
func (l *Levels) ClearRule(ctx context.Context, id string, by logbridge.Actor, reason string) error {
	reason = strings.TrimSpace(reason)
	r, _ := l.wides.Get(id)
	if r == nil {
		return noRule(id)
	}
	if err := check(logbridge.LevelOff, by, reason); err != nil {
		l.Refused(ctx, scope{Product: r.Selector.Product}, "end of level rule "+id, by, err)
		return err
	}
	parts, before := l.survey(r, nil, l.clock.now())
	done, err := l.wides.Delete(ctx, id)
	if err != nil {
		return fmt.Errorf("clear level rule %s: %w", id, err)
	}
	if !done {
		return noRule(id)
	}
	l.recordRule(ctx, ruleEvent{action: actionRuleClear, rule: r, by: by, reason: reason, before: before, parts: parts})
	return nil
}

func noRule(id string) error {
	const most = 32
	return fmt.Errorf("%w: there is no level rule %q", logbridge.ErrNotFound, id[:min(len(id), most)])
}

// Rule gives a live rule, and what it is about now; ErrNotFound when there is none.
func (l *Levels) Rule(id string) (logbridge.LevelRule, logbridge.RuleReach, error) {
	r, _ := l.wides.Get(id)
	if r == nil || !r.live(l.clock.now()) {
		return logbridge.LevelRule{}, logbridge.RuleReach{}, noRule(id)
	}
	return r.LevelRule, l.reach(r), nil
}

// Rules lists the live rules for many devices, by id.
func (l *Levels) Rules() []logbridge.LevelRule {
	var out []logbridge.LevelRule
	for _, r := range l.wides.After("") {
		if r.live(l.clock.now()) {
			out = append(out, r.LevelRule)
		}
	}
	return out
}
