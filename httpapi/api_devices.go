package httpapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"net/http"
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
	LastLine    *time.Time        `json:"last_line,omitempty" doc:"when the last line came, stored or not"`
	LinesMinute float64           `json:"lines_per_minute" doc:"lines that came in the last minute"`
	ClockSkewMS *int64            `json:"clock_skew_ms,omitempty" doc:"by how much the time of receipt was ahead of the device's own time in its last upload with times: its clock's error, and the seconds that the line waited; absent before"`
	Stored      uint64            `json:"stored" doc:"lines in the ledger"`
	Dropped     uint64            `json:"dropped" doc:"lines in the ledger that were acknowledged and not stored"`
	Refused     uint64            `json:"refused" doc:"lines in the ledger that were refused"`
}

// foundDevice is a device with the level that is wanted of it and what was seen.
type foundDevice struct {
	logbridge.Device
	state logbridge.LevelState
}

// viewDevices adds what became of the lines of devices.
func (a *api) viewDevices(found []foundDevice) []deviceView {
	streams := make([]logbridge.Stream, len(found))
	for i := range found {
		streams[i] = found[i].ID.Stream()
	}
	sums, out := a.deps.Counter.LedgerOf(streams), make([]deviceView, len(found))
	for i := range found {
		out[i] = found[i].view(sums[i])
	}
	return out
}

func (d *foundDevice) view(sums logbridge.Sums) deviceView {
	tags, s := d.Tags, &d.state
	if tags == nil {
		tags = map[string]string{}
	}
	view := deviceView{
		Product: d.ID.Product, Device: d.ID.Device, Tags: tags, HasPSK: d.PSK != "", Certificate: d.Certificate != "", Subject: d.CertificateSubject,
		Desired: levelText(s.Desired), Base: levelText(s.Base), Rule: s.Rule, ExpiresAt: at(s.Expires), SetBy: s.SetBy, Reason: s.Reason,
		ChangedAt: at(s.ChangedAt), State: s.State, StateTime: at(s.StateTime), Online: s.Connected, LastSeen: at(s.LastSeen),
		LastLine: at(s.LastLine), LinesMinute: math.Round(10*s.LinesPerMinute) / 10, Stored: sums.Stored, Dropped: sums.Dropped, Refused: sums.Refused,
	}
	if s.SkewKnown {
		skew := s.Skew.Milliseconds()
		view.ClockSkewMS = &skew
	}
	return view
}

func (a *api) viewDevice(d logbridge.Device) deviceView {
	return a.viewState(d, a.deps.Levels.State(d.ID))
}

func (a *api) viewState(d logbridge.Device, s logbridge.LevelState) deviceView {
	return a.viewDevices([]foundDevice{{d, s}})[0]
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
	Body    *deviceBody
}

// deviceBody is what a device is to be; what it does not name stays as it is.
type deviceBody struct {
	PSK         *string            `json:"psk,omitempty" doc:"base64 text; made and shown once when a new device has neither psk nor certificate nor certificate_subject"`
	Certificate *string            `json:"certificate,omitempty" doc:"PEM; its key verifies RSA-signed uploads, and shown over TLS it is a login"`
	Subject     *string            `json:"certificate_subject,omitempty" doc:"a common name or a whole distinguished name: a certificate of a trusted authority with it is a login"`
	Tags        *map[string]string `json:"tags,omitempty"`
}

func (a *api) devices() {
	const path = "/products/{product}/devices/{device}"
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, "/devices", "list-devices", "List devices", a.listDevices)
	call(a, logbridge.RoleViewer, http.MethodGet, path, "get-device", "Show a device", a.getDevice)
	call(a, logbridge.RoleOperator, http.MethodPut, path, "put-device", "Create or change a device", a.putDevice)
	call(a, logbridge.RoleOperator, http.MethodDelete, path, "delete-device", "Delete a device", a.deleteDevice)
	a.logins()
	a.imports()
	a.exports()
}

func (a *api) getDevice(_ context.Context, in *devicePath) (*answer[deviceView], error) {
	d, err := a.deps.Devices.Device(in.id())
	if err != nil {
		return nil, err
	}
	return &answer[deviceView]{a.viewDevice(d)}, nil
}

func (a *api) putDevice(ctx context.Context, in *putDevice) (*answer[deviceView], error) {
	body := deviceBody{}
	set(&body, in.Body)
	d, err := a.applyDevice(ctx, logbridge.DeviceID{Product: in.Product, Device: in.Device}, body)
	if err != nil {
		return nil, err
	}
	changed(ctx, d.before, auditDevice(d.Device), d.secrets...)
	view := a.viewDevice(d.Device)
	view.PSK = d.made
	return &answer[deviceView]{view}, nil
}

// appliedDevice is a device that was registered or changed, or was so before.
type appliedDevice struct {
	logbridge.Device
	created, changed bool
	made             string // the secret, if it was made
	// before is as the audit stream shows it, and secrets those that are others now.
	before  any
	secrets []string
}

// applyDevice makes a device what body says. One that is so already is not written again.
func (a *api) applyDevice(ctx context.Context, id logbridge.DeviceID, body deviceBody) (appliedDevice, error) {
	defer a.lock(id.String())()
	before, err := a.deps.Devices.Device(id)
	if found(err) != nil {
		return appliedDevice{}, err
	}
	d := appliedDevice{Device: before, created: err != nil, before: shown(before, err, auditDevice)}
	d.ID = id
	set(&d.PSK, body.PSK)
	set(&d.Certificate, body.Certificate)
	set(&d.CertificateSubject, body.Subject)
	set(&d.Tags, body.Tags)
	if d.PSK == "" && d.Certificate == "" && d.CertificateSubject == "" {
		d.made = a.deps.MakePSK()
		d.PSK = d.made
	}
	if !d.created && d.PSK == before.PSK && d.Certificate == before.Certificate && d.CertificateSubject == before.CertificateSubject && maps.Equal(d.Tags, before.Tags) {
		return d, nil
	}
	d.changed, d.secrets = !d.created, renewed("psk", before.PSK, d.PSK)
	return d, a.deps.Devices.PutDevice(ctx, d.Device)
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
