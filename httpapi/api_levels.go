package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/logbridge/logbridge"
)

// minRaise is the shortest time for which a level can be set (design.md 7).
const minRaise = time.Second

type putLevel struct {
	Product string `path:"product"`
	Device  string `path:"device"`
	Body    struct {
		Level  levelText `json:"level"`
		For    string    `json:"for,omitempty" doc:"a duration such as 30m, at least 1s; or permanent; a level above the base lasts 30m if it is left out, any other until it is changed" example:"30m"`
		Reason string    `json:"reason,omitempty" maxLength:"500" doc:"must be given"`
	}
}

type clearLevel struct {
	Product string `path:"product"`
	Device  string `path:"device"`
	Reason  string `query:"reason" maxLength:"500"`
}

type baseLevelBody struct {
	Level  levelText `json:"level"`
	Reason string    `json:"reason,omitempty" maxLength:"500"`
}

type putProductLevel struct {
	Product string `path:"product"`
	Body    baseLevelBody
}

type putGlobalLevel struct{ Body baseLevelBody }

type baseLevel struct {
	Level levelText `json:"level"`
}

type overrideList struct {
	Levels []deviceView `json:"levels" doc:"the devices that have a level of their own"`
	Rules  []ruleView   `json:"rules" doc:"the rules for all devices that a selector means"`
}

func (a *api) levels() {
	const device = "/products/{product}/devices/{device}/level"
	const product = "/products/{product}/level"
	levelCall(a, asNamed, logbridge.RoleOperator, http.MethodPut, device, "put-device-level", "Set a device's level for a time", a.putDeviceLevel)
	levelCall(a, asNamed, logbridge.RoleOperator, http.MethodDelete, device, "delete-device-level", "Return a device to its base level", a.clearDeviceLevel)
	callFor(a, partly, logbridge.RoleViewer, http.MethodGet, product, "get-product-level", "Show a product's base level", a.getProductLevel)
	levelCall(a, asNamed, logbridge.RoleOperator, http.MethodPut, product, "put-product-level", "Set a product's base level", a.putProductLevel)
	call(a, logbridge.RoleViewer, http.MethodGet, "/level", "get-level", "Show the base level of all", a.getLevel)
	levelCall(a, asNamed, logbridge.RoleAdmin, http.MethodPut, "/level", "put-level", "Set the base level of all", a.putLevel)
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, "/levels", "list-levels", "List live device levels and rules", a.listLevels)
	a.rules()
}

// refuse records a change of levels that is refused before the levels are asked, and returns its error. What was asked for a
// device that does not exist is recorded without its name, which is not checked.
func (s *Server) refuse(ctx context.Context, of logbridge.DeviceID, what string, by logbridge.Actor, err error) error {
	if _, missing := s.deps.Devices.Device(of); missing != nil {
		of.Device = ""
	}
	if _, missing := s.deps.Products.Product(of.Product); missing != nil {
		of.Product = ""
	}
	s.deps.Levels.Refused(ctx, of, what, by, err)
	return err
}

// parseFor reads the time for which a level is wanted; 0 and false mean the default time.
func parseFor(s string) (d time.Duration, permanent bool, err error) {
	switch s {
	case "":
		return 0, false, nil
	case "permanent":
		return 0, true, nil
	}
	d, err = time.ParseDuration(s)
	if err != nil || d < minRaise {
		return 0, false, fmt.Errorf("%w: for %q is neither a duration of at least %s nor permanent", logbridge.ErrInvalid, clip(s), minRaise)
	}
	return d, false, nil
}

func (a *api) putDeviceLevel(ctx context.Context, in *putLevel) (*answer[deviceView], error) {
	id := logbridge.DeviceID{Product: in.Product, Device: in.Device}
	device, err := a.deps.Devices.Device(id)
	if err != nil {
		return nil, a.refuse(ctx, id, "log level", actor(ctx), err)
	}
	d, permanent, err := parseFor(in.Body.For)
	if err != nil {
		return nil, a.refuse(ctx, id, "log level", actor(ctx), err)
	}
	state, err := a.deps.SetLevel(ctx, device.ID, LevelWish{
		Level: logbridge.Level(in.Body.Level), For: d, Permanent: permanent, Reason: in.Body.Reason, By: actor(ctx),
	})
	if err != nil {
		return nil, err
	}
	return &answer[deviceView]{a.viewState(device, state)}, nil
}

// clearDeviceLevel can be repeated.
func (a *api) clearDeviceLevel(ctx context.Context, in *clearLevel) (*answer[deviceView], error) {
	device, err := a.deps.Devices.Device(logbridge.DeviceID{Product: in.Product, Device: in.Device})
	if err != nil {
		return nil, err
	}
	if err := a.deps.Levels.Clear(ctx, device.ID, actor(ctx), in.Reason); found(err) != nil {
		return nil, err
	}
	return &answer[deviceView]{a.viewDevice(device)}, nil
}

func (a *api) getProductLevel(_ context.Context, in *productPath) (*answer[baseLevel], error) {
	if _, err := a.deps.Products.Product(in.Product); err != nil {
		return nil, err
	}
	return a.base(in.Product), nil
}

func (a *api) putProductLevel(ctx context.Context, in *putProductLevel) (*answer[baseLevel], error) {
	if _, err := a.deps.Products.Product(in.Product); err != nil {
		return nil, a.refuse(ctx, logbridge.DeviceID{}, "base level", actor(ctx), err)
	}
	return a.setBase(ctx, in.Product, in.Body)
}

func (a *api) getLevel(context.Context, *none) (*answer[baseLevel], error) { return a.base(""), nil }

func (a *api) putLevel(ctx context.Context, in *putGlobalLevel) (*answer[baseLevel], error) {
	return a.setBase(ctx, "", in.Body)
}

func (a *api) base(product string) *answer[baseLevel] {
	return &answer[baseLevel]{baseLevel{levelText(a.deps.Levels.Base(product))}}
}

func (a *api) setBase(ctx context.Context, product string, b baseLevelBody) (*answer[baseLevel], error) {
	if err := a.deps.Levels.SetBase(ctx, product, logbridge.Level(b.Level), actor(ctx), b.Reason); err != nil {
		return nil, err
	}
	return a.base(product), nil
}

func (a *api) listLevels(ctx context.Context, _ *none) (*answer[overrideList], error) {
	var own []foundDevice
	rules := []ruleView{}
	for _, r := range a.deps.Rules.Rules() {
		if sees(ctx, ruleStreams(r)) {
			rules = append(rules, viewRule(r))
		}
	}
	for _, o := range a.deps.Overrides() {
		d, err := a.deps.Devices.Device(o.Device)
		if err != nil || !sees(ctx, o.Device.Stream()) { // deleted a moment ago, or not this token's
			continue
		}
		own = append(own, foundDevice{d, o.LevelState})
	}
	return &answer[overrideList]{overrideList{Levels: a.viewDevices(own), Rules: rules}}, nil
}
