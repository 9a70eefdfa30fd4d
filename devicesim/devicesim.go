// Package devicesim is a fleet of simulated devices. Each logs in by MQTT as a Tencent IoT device does, subscribes its
// result topic, asks for its log level, obeys what is pushed, writes plausible lines at that level, uploads them by HTTP
// or MQTT, reconnects with back-off, and counts what the server acknowledged.
//
// Promise: a line is counted as acknowledged only after the server's own success (a PUBACK, or an answer without
// Response.Error). A line is uploaded again until it is acknowledged or refused, so with a server that stores what it
// acknowledges nothing acknowledged is missing there. Limits: lines that a device cannot upload wait in a bounded
// buffer and the oldest are dropped and counted; a fleet keeps nothing over its own end.
//
// A Script makes the fleet less well behaved, or lets it speak as Tencent's SDKs do. Of an upload that got no answer the
// fleet cannot know whether it was stored, and counts it as unanswered.
package devicesim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logbridge/logbridge"
)

// Upload says how devices send their lines.
type Upload string

// The ways: signed HTTP posts to /device/reportlog, MQTT messages on $log/report at QoS 1, or every other device each.
const (
	UploadHTTP  Upload = "http"
	UploadMQTT  Upload = "mqtt"
	UploadMixed Upload = "mixed"
)

// Credential is one device and its secret, the base64 text as registered.
type Credential struct {
	ID  logbridge.DeviceID
	PSK string
}

// Config of a fleet. Zero fields take the default named with them.
type Config struct {
	// Broker is the MQTT address, host:port.
	Broker string
	// HTTP is the base URL of the device surface, such as http://127.0.0.1:8080. Needed unless Upload is mqtt.
	HTTP    string
	Devices []Credential
	Upload  Upload // default mixed
	// LineRate is how many things happen to a device in a second, each worth a line at debug level; at info about a
	// third of them is written, at error one in twenty. Default 1.
	LineRate float64
	// UploadEvery is how often a device sends what it has; default 2 s, as the C SDK does.
	UploadEvery time.Duration
	// AskEvery repeats the level question; the default is to ask only after each connect, as the SDKs do.
	AskEvery time.Duration
	// ConnectRate spreads the first connects, in connects a second; default 500.
	ConnectRate float64
	// Script is what happens to the fleet; default steady.
	Script Script
	// StormEvery is how often ScriptStorm strikes; default 5 s.
	StormEvery time.Duration
	// Acked, if set, is called with the text of every acknowledged line. It may be called concurrently.
	Acked func(id logbridge.DeviceID, lines []string)
}

// Bounds of a fleet.
const (
	// mostPending is how many lines a device keeps while it cannot upload: the C SDK's buffer holds fewer.
	mostPending = 2000
	// mostInUpload keeps an upload of long lines well below a broker's packet limit.
	mostInUpload = 100
	// mostUploads bounds the sockets of a large fleet, since each upload is a connection of its own.
	mostUploads = 256
	// uploadTimeout is when a device gives an answer up, also that to its last upload after the fleet was told to stop.
	uploadTimeout = 10 * time.Second
)

// Fleet is a running or finished simulation.
type Fleet struct {
	cfg   Config
	log   *slog.Logger
	http  *http.Client
	host  string // as signed: without the port (tencent-iot.md 4.3)
	stats stats
	storm atomic.Pointer[gate] // closed and replaced when a storm strikes
}

// New checks the configuration. Nothing starts before Run.
func New(cfg Config, log *slog.Logger) (*Fleet, error) {
	if cfg.Upload == "" {
		cfg.Upload = UploadMixed
	}
	if cfg.LineRate == 0 {
		cfg.LineRate = 1
	}
	if cfg.UploadEvery == 0 {
		cfg.UploadEvery = 2 * time.Second
	}
	if cfg.ConnectRate == 0 {
		cfg.ConnectRate = 500
	}
	if cfg.Script == "" {
		cfg.Script = ScriptSteady
	}
	if cfg.StormEvery == 0 {
		cfg.StormEvery = 5 * time.Second
	}
	u, err := url.Parse(cfg.HTTP)
	if err := errors.Join(err, cfg.check(u)); err != nil {
		return nil, fmt.Errorf("simulated devices: %w", err)
	}
	cfg.HTTP = strings.TrimSuffix(cfg.HTTP, "/")
	transport := &http.Transport{MaxConnsPerHost: mostUploads, DisableCompression: true}
	f := &Fleet{cfg: cfg, log: log, host: u.Hostname(), http: &http.Client{Transport: transport}}
	calm := make(gate)
	f.storm.Store(&calm)
	return f, nil
}

func (c Config) check(u *url.URL) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{logbridge.ErrInvalid}, args...)...))
	}
	switch c.Upload {
	case UploadHTTP, UploadMQTT, UploadMixed:
	default:
		fault("upload %q is none of http, mqtt, mixed", c.Upload)
	}
	if !slices.Contains(scripts, c.Script) {
		fault("script %q is none of %v", c.Script, scripts)
	}
	if c.Broker == "" {
		fault("no MQTT broker address given")
	}
	if (c.Upload != UploadMQTT || c.Script == ScriptSDK) && (u == nil || u.Hostname() == "") {
		fault("%q is no base URL for uploads by HTTP", c.HTTP)
	}
	if c.LineRate < 0 || c.UploadEvery < 0 || c.AskEvery < 0 || c.ConnectRate < 0 || c.StormEvery < 0 {
		fault("rates and intervals cannot be negative")
	}
	if len(c.Devices) == 0 {
		fault("a fleet needs at least one device")
	}
	for _, d := range c.Devices {
		if err := d.ID.Validate(); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// Run simulates until ctx ends, lets each device finish the upload that is on its way, and returns nil.
func (f *Fleet) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i, credential := range f.cfg.Devices {
		upload := f.cfg.Upload
		if upload == UploadMixed {
			upload = []Upload{UploadHTTP, UploadMQTT}[i%2]
		}
		start := time.Duration(float64(i) / f.cfg.ConnectRate * float64(time.Second))
		d := newDevice(f, credential, upload)
		f.play(d, i)
		all.Go(func() { d.run(ctx, start) })
	}
	if f.cfg.Script == ScriptStorm {
		all.Go(func() { f.weather(ctx) })
	}
	all.Wait()
	f.http.CloseIdleConnections()
	return nil
}

// Stats may be called at any time.
func (f *Fleet) Stats() Counts { return f.stats.counts() }
