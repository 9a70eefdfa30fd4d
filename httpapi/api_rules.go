package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/logbridge/logbridge"
)

// selectorBody says which devices a rule is about.
type selectorBody struct {
	Product    string            `json:"product,omitempty" doc:"id of a product; every product if it is left out"`
	DeviceGlob string            `json:"device_glob,omitempty" doc:"pattern for the device name" example:"dev-0*"`
	Tags       map[string]string `json:"tags,omitempty" doc:"tags that the device has, all of them"`
	Percent    *float64          `json:"percent,omitempty" minimum:"0.01" maximum:"100" doc:"part of the devices, in steps of 0.01; those of 1 % are among those of 10 %"`
}

func (s selectorBody) selector() logbridge.LevelSelector {
	out := logbridge.LevelSelector{Product: s.Product, DeviceGlob: s.DeviceGlob, Tags: s.Tags}
	set(&out.Percent, s.Percent)
	return out
}

type postRule struct {
	Body struct {
		Selector selectorBody `json:"selector"`
		Priority int          `json:"priority,omitempty" minimum:"-1000000" maximum:"1000000" doc:"of several rules the higher one decides, of equal ones the newer"`
		Level    levelText    `json:"level"`
		For      string       `json:"for,omitempty" doc:"a duration such as 30m, at least 1s; or permanent; a level above the base lasts 30m if it is left out, any other until it is changed" example:"30m"`
		Reason   string       `json:"reason,omitempty" maxLength:"500" doc:"must be given"`
		DryRun   bool         `json:"dry_run,omitempty" doc:"check and count, change nothing"`
	}
}

type rulePath struct {
	ID string `path:"id"`
}

type patchRule struct {
	ID   string `path:"id"`
	Body struct {
		For     string   `json:"for,omitempty" doc:"how long from now on: a duration of at least 1s, or permanent"`
		Percent *float64 `json:"percent,omitempty" minimum:"0.01" maximum:"100"`
		Reason  string   `json:"reason,omitempty" maxLength:"500" doc:"in place of the former one"`
	}
}

type deleteRule struct {
	ID     string `path:"id"`
	Reason string `query:"reason" maxLength:"500"`
}

// ruleView is a rule as the API shows it.
type ruleView struct {
	ID        string       `json:"id"`
	Selector  selectorBody `json:"selector"`
	Priority  int          `json:"priority"`
	Level     levelText    `json:"level"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty"`
	Reason    string       `json:"reason"`
	SetBy     string       `json:"set_by"`
	CreatedAt *time.Time   `json:"created_at,omitempty"`
	ChangedAt *time.Time   `json:"changed_at,omitempty"`
}

// ruleReach is a rule and what it is about; of a dry run without the rule.
type ruleReach struct {
	Rule      *ruleView      `json:"rule,omitempty" doc:"absent in a dry run"`
	Matched   int            `json:"matched" doc:"registered devices that the selector means"`
	Connected int            `json:"connected" doc:"those of them that are connected"`
	Decides   int            `json:"decides" doc:"those of the matched whose level this rule says; in a dry run, those whose level it would change"`
	Sample    []string       `json:"sample" doc:"the first of the matched devices, as product/device"`
	Levels    map[string]int `json:"levels" doc:"matched devices by the level that they should have now"`
	States    map[string]int `json:"states" doc:"matched devices by how far they are seen to follow"`
}

type ruleAnswer struct {
	Status int
	Body   ruleReach
}

func (a *api) rules() {
	const one = "/levels/{id}"
	levelCall(a, anywhere, logbridge.RoleOperator, http.MethodPost, "/levels", "post-level-rule", "Set the level of all devices that a selector means", a.postRule)
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, one, "get-level-rule", "Show a rule and what it is about", a.getRule)
	levelCall(a, anywhere, logbridge.RoleOperator, http.MethodPatch, one, "patch-level-rule", "Give a rule another end or percentage", a.patchRule)
	levelCall(a, anywhere, logbridge.RoleOperator, http.MethodDelete, one, "delete-level-rule", "End a rule", a.deleteRule)
}

func viewRule(r logbridge.LevelRule) ruleView {
	s := selectorBody{Product: r.Selector.Product, DeviceGlob: r.Selector.DeviceGlob, Tags: r.Selector.Tags}
	if r.Selector.Percent != 0 {
		s.Percent = &r.Selector.Percent
	}
	return ruleView{ID: r.ID, Selector: s, Priority: r.Priority, Level: levelText(r.Level), ExpiresAt: at(r.Expires), Reason: r.Reason,
		SetBy: r.SetBy.Name, CreatedAt: at(r.Created), ChangedAt: at(r.ChangedAt)}
}

func viewReach(r logbridge.LevelRule, reach logbridge.RuleReach) ruleReach {
	out := ruleReach{Matched: reach.Matched, Connected: reach.Connected, Decides: reach.Decides, Sample: []string{},
		Levels: map[string]int{}, States: map[string]int{}}
	if r.ID != "" {
		view := viewRule(r)
		out.Rule = &view
	}
	for _, id := range reach.Sample {
		out.Sample = append(out.Sample, id.String())
	}
	for level, n := range reach.Levels {
		if n > 0 {
			out.Levels[logbridge.Level(level).String()] = n
		}
	}
	for state, n := range reach.States {
		out.States[state] = n
	}
	return out
}

func (a *api) postRule(ctx context.Context, in *postRule) (*ruleAnswer, error) {
	b := &in.Body
	wish := logbridge.RuleWish{Selector: b.Selector.selector(), Priority: b.Priority, Level: logbridge.Level(b.Level), Reason: b.Reason,
		By: actor(ctx), DryRun: b.DryRun}
	var err error
	wish.For, wish.Permanent, err = parseFor(b.For)
	if !sees(ctx, productStreams(wish.Selector.Product)) {
		err = errRuleScope
	}
	if err == nil && wish.Selector.Product != "" {
		_, err = a.deps.Products.Product(wish.Selector.Product)
	}
	if err == nil && wish.Permanent {
		err = a.mayLast(ctx, wish.Selector.Product, wish.Level)
	}
	if err != nil {
		return nil, a.refuse(ctx, logbridge.DeviceID{Product: wish.Selector.Product}, "level rule", wish.By, err)
	}
	r, reach, err := a.deps.Rules.AddRule(ctx, wish)
	if err != nil {
		return nil, err
	}
	out := &ruleAnswer{http.StatusCreated, viewReach(r, reach)}
	if wish.DryRun {
		out.Status = http.StatusOK
	}
	return out, nil
}

// errRuleScope is the answer to a limited token that asks for a rule of more than one product, or of one that is not in its scope.
var errRuleScope = newProblem(http.StatusForbidden, "a limited token may set levels for products in its scope only; the selector must name one")

// ruleStreams is what the streams of the devices begin with that a rule may be about.
func ruleStreams(r logbridge.LevelRule) logbridge.Stream { return productStreams(r.Selector.Product) }

var errLasting = newProblem(http.StatusForbidden, "a level above the base, of many devices and without an end, needs a token of role admin; give it a time")

// mayLast says whether the caller may raise the level of many devices without an end: who does that gives the fleet another
// base level, which is an administrator's to say. For one device an operator may. A rule for every product counts as a raise,
// since it is one for some.
func (a *api) mayLast(ctx context.Context, product string, level logbridge.Level) error {
	raises := product == "" || level > a.deps.Levels.Base(product)
	if raises && callerOf(ctx).permit(logbridge.RoleAdmin) != nil {
		return errLasting
	}
	return nil
}

// rule finds a rule that the caller's scope has all devices of.
func (a *api) rule(ctx context.Context, id string) (logbridge.LevelRule, logbridge.RuleReach, error) {
	r, reach, err := a.deps.Rules.Rule(id)
	if c := callerOf(ctx); c.Limited() && (err != nil || !c.Sees(ruleStreams(r))) {
		return logbridge.LevelRule{}, logbridge.RuleReach{}, errOutside
	}
	return r, reach, err
}

func (a *api) getRule(ctx context.Context, in *rulePath) (*answer[ruleReach], error) {
	r, reach, err := a.rule(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &answer[ruleReach]{viewReach(r, reach)}, nil
}

func (a *api) patchRule(ctx context.Context, in *patchRule) (*answer[ruleReach], error) {
	change := logbridge.RuleChange{Reason: in.Body.Reason, By: actor(ctx)}
	set(&change.Percent, in.Body.Percent)
	former, _, err := a.rule(ctx, in.ID)
	if errors.Is(err, errOutside) {
		return nil, a.refuse(ctx, logbridge.DeviceID{}, "change of level rule", change.By, err)
	}
	change.For, change.Permanent, err = parseFor(in.Body.For)
	if lasts := change.Permanent || change.For == 0 && former.Expires.IsZero(); err == nil && lasts && former.ID != "" {
		err = a.mayLast(ctx, former.Selector.Product, former.Level)
	}
	if err != nil {
		return nil, a.refuse(ctx, logbridge.DeviceID{}, "change of level rule", change.By, err)
	}
	r, reach, err := a.deps.Rules.ChangeRule(ctx, in.ID, change)
	if err != nil {
		return nil, err
	}
	return &answer[ruleReach]{viewReach(r, reach)}, nil
}

func (a *api) deleteRule(ctx context.Context, in *deleteRule) (*none, error) {
	if _, _, err := a.rule(ctx, in.ID); errors.Is(err, errOutside) {
		return nil, a.refuse(ctx, logbridge.DeviceID{}, "end of level rule", actor(ctx), err)
	}
	return nil, a.deps.Rules.ClearRule(ctx, in.ID, actor(ctx), in.Reason)
}
