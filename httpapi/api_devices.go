package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// deviceView is a device as the API shows it: without its secret, with the level that is wanted of it and what was seen.
type deviceView struct {
	Product     string            `json:"product"`
	Device      string            `json:"device"`
	Tags        map[string]string `json:"tags"`
	HasPSK      bool              `json:"has_psk"`
	PSK         string            `json:"psk,omitempty" doc:"only when it was made by this call; never shown again"`
	Certificate bool              `json:"certificate" doc:"whether a certificate is registered"`
	Subject     string            `json:"certificate_subject,omitempty" doc:"the subject of certificates that log the device in"`
	Desired     levelText         `json:"desired"`
	Base        levelText         `json:"base" doc:"the level without any rule"`
	Rule        string            `json:"rule,omitempty" doc:"id of the rule for many devices that says the desired level"`
	ExpiresAt   *time.Time        `json:"expires_at,omitempty" doc:"when the device falls back"`
	SetBy       string            `json:"set_by,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	ChangedAt   *time.Time        `json:"changed_at,omitempty"`
	State       string            `json:"state" doc:"how far the device is known to follow: offline, sent, acknowledged, asked, seen; or contradicted, unsupported"`
	StateTime   *time.Time        `json:"state_time,omitempty"`
	Online      bool              `json:"online"`
	LastSeen    *time.Time        `json:"last_seen,omitempty"`
}

func viewDevice(d logbridge.Device, s logbridge.LevelState) deviceView {
	tags := d.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return deviceView{
		Product: d.ID.Product, Device: d.ID.Device, Tags: tags, HasPSK: d.PSK != "", Certificate: d.Certificate != "", Subject: d.CertificateSubject,
		Desired: levelText(s.Desired), Base: levelText(s.Base), Rule: s.Rule, ExpiresAt: at(s.Expires), SetBy: s.SetBy, Reason: s.Reason,
		ChangedAt: at(s.ChangedAt), State: s.State, StateTime: at(s.StateTime), Online: s.Connected, LastSeen: at(s.LastSeen),
	}
}

func (a *api) viewDevice(d logbridge.Device) deviceView {
	return viewDevice(d, a.deps.Levels.State(d.ID))
}

// deviceRecord is what the audit stream says of a device: what is registered, not its levels.
type deviceRecord struct {
	Tags        map[string]string `json:"tags,omitempty"`
	HasPSK      bool              `json:"has_psk"`
	Certificate string            `json:"certificate_sha256,omitempty"`
	Subject     string            `json:"certificate_subject,omitempty"`
}

func auditDevice(d logbridge.Device) deviceRecord {
	r := deviceRecord{Tags: d.Tags, HasPSK: d.PSK != "", Subject: d.CertificateSubject}
	if d.Certificate != "" {
		r.Certificate = fmt.Sprintf("%x", sha256.Sum256([]byte(d.Certificate)))
	}
	return r
}

type devicePath struct {
	Product string `path:"product" doc:"10 letters and digits"`
	Device  string `path:"device" doc:"1 to 48 letters, digits and : _ -"`
}

func (p devicePath) id() logbridge.DeviceID {
	return logbridge.DeviceID{Product: p.Product, Device: p.Device}
}

type putDevice struct {
	Product string `path:"product"`
	Device  string `path:"device"`
	Body    *struct {
		PSK         *string            `json:"psk,omitempty" doc:"base64 text; made and shown once when a new device has neither psk nor certificate nor certificate_subject"`
		Certificate *string            `json:"certificate,omitempty" doc:"PEM; its key verifies RSA-signed uploads, and shown over TLS it is a login"`
		Subject     *string            `json:"certificate_subject,omitempty" doc:"a common name or a whole distinguished name: a certificate of a trusted authority with it is a login"`
		Tags        *map[string]string `json:"tags,omitempty"`
	}
}

type listDevices struct {
	Product string   `query:"product"`
	Q       string   `query:"q" doc:"substring of the device name"`
	Tag     []string `query:"tag,explode" doc:"key:value, may be repeated"`
	Online  string   `query:"online" enum:"true,false" doc:"connected or not"`
	Level   string   `query:"level" doc:"desired level"`
	State   string   `query:"state" doc:"observed state"`
	Limit   int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor  string   `query:"cursor" doc:"next_cursor of the page before"`
}

type deviceList struct {
	Devices    []deviceView `json:"devices"`
	NextCursor string       `json:"next_cursor,omitempty" doc:"absent on the last page"`
}

func (a *api) devices() {
	const path = "/products/{product}/devices/{device}"
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, "/devices", "list-devices", "List devices", a.listDevices)
	call(a, logbridge.RoleViewer, http.MethodGet, path, "get-device", "Show a device", a.getDevice)
	call(a, logbridge.RoleOperator, http.MethodPut, path, "put-device", "Create or change a device", a.putDevice)
	call(a, logbridge.RoleOperator, http.MethodDelete, path, "delete-device", "Delete a device", a.deleteDevice)
	a.logins()
}

func (a *api) getDevice(_ context.Context, in *devicePath) (*answer[deviceView], error) {
	d, err := a.deps.Devices.Device(in.id())
	if err != nil {
		return nil, err
	}
	return &answer[deviceView]{a.viewDevice(d)}, nil
}

func (a *api) putDevice(ctx context.Context, in *putDevice) (*answer[deviceView], error) {
	id := logbridge.DeviceID{Product: in.Product, Device: in.Device}
	defer a.lock(id.String())()
	d, err := a.deps.Devices.Device(id)
	if found(err) != nil {
		return nil, err
	}
	before, psk := shown(d, err, auditDevice), d.PSK
	d.ID = id
	if b := in.Body; b != nil {
		set(&d.PSK, b.PSK)
		set(&d.Certificate, b.Certificate)
		set(&d.CertificateSubject, b.Subject)
		set(&d.Tags, b.Tags)
	}
	made := ""
	if d.PSK == "" && d.Certificate == "" && d.CertificateSubject == "" {
		made = a.deps.MakePSK()
		d.PSK = made
	}
	if err := a.deps.Devices.PutDevice(ctx, d); err != nil {
		return nil, err
	}
	changed(ctx, before, auditDevice(d), renewed("psk", psk, d.PSK)...)
	view := a.viewDevice(d)
	view.PSK = made
	return &answer[deviceView]{view}, nil
}

func (a *api) deleteDevice(ctx context.Context, in *devicePath) (*none, error) {
	d, err := a.deps.Devices.Device(in.id())
	before := shown(d, err, auditDevice)
	if err := a.deps.Devices.DeleteDevice(ctx, in.id()); err != nil {
		return nil, err
	}
	changed(ctx, before, nil)
	return nil, a.deps.Levels.Forget(ctx, in.id(), actor(ctx))
}

func (a *api) listDevices(ctx context.Context, in *listDevices) (*answer[deviceList], error) {
	after, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	match, err := deviceFilter(in)
	if err != nil {
		return nil, err
	}
	list := deviceList{Devices: []deviceView{}}
	for d := range a.deps.Devices.DevicesAfter(in.Product, after) {
		if !sees(ctx, d.ID.Stream()) || !match.device(d) {
			continue
		}
		view := a.viewDevice(d)
		if !match.level(view) {
			continue
		}
		if len(list.Devices) == in.Limit {
			last := list.Devices[in.Limit-1]
			list.NextCursor = cursor(logbridge.DeviceID{Product: last.Product, Device: last.Device})
			break
		}
		list.Devices = append(list.Devices, view)
	}
	return &answer[deviceList]{list}, nil
}

// cursor names the last device of a page; it stays good when devices come and go.
func cursor(last logbridge.DeviceID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last.String()))
}

func parseCursor(s string) (logbridge.DeviceID, error) {
	if s == "" {
		return logbridge.DeviceID{}, nil
	}
	key, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		id, err := logbridge.ParseDeviceID(string(key))
		if err == nil {
			return id, nil
		}
	}
	return logbridge.DeviceID{}, fmt.Errorf("%w: cursor is not one that an earlier answer gave", logbridge.ErrInvalid)
}

// deviceMatch is the filter of a list of devices. What the registry knows is checked first, since it is cheap.
type deviceMatch struct {
	in    *listDevices
	tags  [][2]string
	wants *logbridge.Level
}

func deviceFilter(in *listDevices) (deviceMatch, error) {
	m := deviceMatch{in: in}
	for _, tag := range in.Tag {
		key, value, ok := strings.Cut(tag, ":")
		if !ok {
			return m, fmt.Errorf("%w: tag %q is not of the form key:value", logbridge.ErrInvalid, clip(tag))
		}
		m.tags = append(m.tags, [2]string{key, value})
	}
	if in.Level != "" {
		l, err := logbridge.ParseLevel(in.Level)
		if err != nil {
			return m, err
		}
		m.wants = &l
	}
	return m, nil
}

func (m deviceMatch) device(d logbridge.Device) bool {
	for _, t := range m.tags {
		if v, ok := d.Tags[t[0]]; !ok || v != t[1] {
			return false
		}
	}
	return strings.Contains(d.ID.Device, m.in.Q)
}

func (m deviceMatch) level(v deviceView) bool {
	return (m.wants == nil || logbridge.Level(v.Desired) == *m.wants) &&
		(m.in.Online == "" || v.Online == (m.in.Online == "true")) &&
		(m.in.State == "" || v.State == m.in.State)
}
