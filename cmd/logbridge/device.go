package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

type deviceCmd struct {
	Add    deviceAddCmd    `cmd:"" help:"Register a device, or change its tags or its key."`
	Ls     deviceLsCmd     `cmd:"" help:"List devices."`
	Show   deviceShowCmd   `cmd:"" help:"Show one device: what is wanted of it, and what was seen."`
	Rm     deviceRmCmd     `cmd:"" help:"Delete a device; its records stay."`
	Import deviceImportCmd `cmd:"" help:"Register or change many devices: one as JSON a line. To repeat it is harmless."`
	Export deviceExportCmd `cmd:"" help:"Write down devices, one as JSON a line, as import reads them."`
	Login  deviceLoginCmd  `cmd:"" help:"Print MQTT user name and password of a device, and how mosquitto_sub, mosquitto_rr and mosquitto_pub use them."`
}

// deviceArg is a device on the command line, as PRODUCT/DEVICE.
type deviceArg struct{ logbridge.DeviceID }

// UnmarshalText is logbridge.ParseDeviceID.
func (d *deviceArg) UnmarshalText(b []byte) (err error) {
	d.DeviceID, err = logbridge.ParseDeviceID(string(b))
	return err
}

type deviceAddCmd struct {
	Client
	Device deviceArg         `arg:"" placeholder:"PRODUCT/DEVICE" help:"PRODUCT/DEVICE."`
	PSK    string            `name:"psk" placeholder:"BASE64" help:"The device secret; for a new device one is made and printed, once, if it is left out."`
	Cert   string            `name:"cert" type:"existingfile" placeholder:"FILE" help:"The device's certificate, PEM: with it over TLS the device needs no password."`
	CN     string            `name:"cert-subject" placeholder:"SUBJECT" help:"Common name, or whole subject, of certificates of --tls-client-ca that log the device in."`
	Tag    map[string]string `placeholder:"K=V" help:"A tag; may be given again."`
}

func (c deviceAddCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	wish := deviceWish{PSK: c.PSK, Subject: c.CN, Tags: c.Tag}
	if c.Cert != "" {
		text, err := os.ReadFile(c.Cert)
		if err != nil {
			return err
		}
		wish.Certificate = string(text)
	}
	psk, err := server.putDevice(p.ctx, c.Device.DeviceID, wish)
	if err != nil {
		return err
	}
	switch {
	case c.PSK == "" && (c.Cert != "" || c.CN != "") && psk == "":
		_, err = fmt.Fprintf(p.stdout, "%s: registered with this certificate\n", c.Device)
	case c.PSK != "":
		_, err = fmt.Fprintf(p.stdout, "%s: registered with this key\n", c.Device)
	case psk == "":
		_, err = fmt.Fprintf(p.stdout, "%s: registered before, and keeps its key\n", c.Device)
	default:
		_, err = fmt.Fprintf(p.stdout, "psk %s\n", psk)
	}
	return err
}

// deviceWish is what a device is to be registered with.
type deviceWish struct {
	PSK         string            `json:"psk,omitempty"`
	Certificate string            `json:"certificate,omitempty"`
	Subject     string            `json:"certificate_subject,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// putDevice registers a device and returns the key that the server made, if it made one.
func (a *api) putDevice(ctx context.Context, id logbridge.DeviceID, in deviceWish) (made string, err error) {
	var out struct {
		PSK string `json:"psk"`
	}
	return out.PSK, a.call(ctx, http.MethodPut, devicePath(id), in, &out)
}

type deviceShowCmd struct {
	Client
	Output
	Device deviceArg `arg:"" placeholder:"PRODUCT/DEVICE" help:"PRODUCT/DEVICE."`
}

func (c deviceShowCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, devicePath(c.Device.DeviceID), func(s deviceState) error {
		fields := []field{{"device", c.Device.String()}, {"online", yes(s.Online)}, {"level", s.Desired + s.until(time.Now())}, {"base", s.Base}}
		if s.Rule != "" {
			fields = append(fields, field{"rule", s.Rule})
		}
		fields = append(fields, field{"state", s.State + ", " + seen(s.StateTime)}, field{"set by", s.SetBy}, field{"reason", s.Reason},
			field{"last seen", seen(s.LastSeen)}, field{"last line", seen(s.LastLine)}, field{"lines a minute", s.perMinute()},
			field{"lines", fmt.Sprintf("%d stored, %d dropped, %d refused", s.Stored, s.Dropped, s.Refused)}, field{"clock", s.skew()}, field{"tags", tags(s.Tags)})
		return writeFields(p.stdout, c.Output, fields...)
	})
}

type deviceRmCmd struct {
	Client
	Device deviceArg `arg:"" placeholder:"PRODUCT/DEVICE" help:"PRODUCT/DEVICE."`
}

func (c deviceRmCmd) Run(p program) error {
	return remove(p, c.Client, devicePath(c.Device.DeviceID), "device "+c.Device.String())
}

type deviceLoginCmd struct {
	Client
	Device deviceArg `arg:"" placeholder:"PRODUCT/DEVICE" help:"PRODUCT/DEVICE."`
	For    string    `placeholder:"DURATION" help:"How long the login is good (24h)."`
	MQTT   string    `name:"mqtt" env:"LOGBRIDGE_MQTT" placeholder:"ADDR" help:"Address of the broker, for the commands that are printed (the host of --url, at the port that the server says)."`
}

// login is what a device logs in with.
type login struct {
	ClientID string `json:"client_id"`
	UserName string `json:"user_name"`
	Password string `json:"password"`
	MQTTPort int    `json:"mqtt_port"`
}

func (c deviceLoginCmd) Run(p program) error {
	host, port, err := net.SplitHostPort(c.MQTT)
	if err != nil && c.MQTT != "" {
		return usageError{fmt.Errorf("--mqtt: write an address as host:port, not %q", c.MQTT)}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	var l login
	wish := struct {
		For string `json:"for,omitempty"`
	}{c.For}
	if err := server.call(p.ctx, http.MethodPost, devicePath(c.Device.DeviceID)+"/login", wish, &l); err != nil {
		return err
	}
	if c.MQTT == "" {
		if host, err = server.host(); err != nil {
			return err
		}
		port = strconv.Itoa(l.MQTTPort)
	}
	_, err = fmt.Fprintf(p.stdout, "client id  %s\nuser name  %s\npassword   %s\n\n%s", l.ClientID, l.UserName, l.Password, l.commands(c.Device.DeviceID, host, port))
	return err
}

// commands are the command lines with which the stock MQTT tools take the device's place. mosquitto_rr subscribes and
// asks over one connection: a second tool with the same client id would push the first one out.
func (l login) commands(id logbridge.DeviceID, host, port string) string {
	who := fmt.Sprintf("-h %s -p %s -i %s -u %s -P %s", shellQuote(host), port, shellQuote(l.ClientID), shellQuote(l.UserName), shellQuote(l.Password))
	var b strings.Builder
	fmt.Fprintf(&b, "# One at a time: a device has one connection, a second one ends the first.\n# Levels as they are pushed:\nmosquitto_sub %s -q 1 -v -t %s\n", who, shellQuote(tencent.OperationResultTopic(id)))
	fmt.Fprintf(&b, "# Ask for the level, and see the answer:\nmosquitto_rr %s -q 1 -t %s -e %s -m %s\n", who,
		shellQuote(tencent.OperationTopic(id)), shellQuote(tencent.OperationResultTopic(id)), shellQuote(string(tencent.LevelRequestPayload("shell-1"))))
	fmt.Fprintf(&b, "# Send a line:\nmosquitto_pub %s -q 1 -t %s -m %s\n", who, shellQuote(tencent.ReportTopic(id)), shellQuote("INFhello from the shell"))
	return b.String()
}

// shellQuote makes s one word for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func seen(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Local().Format(time.DateTime)
}

// tags writes tags in the order of their names.
func tags(m map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, k+"="+m[k])
	}
	return strings.Join(pairs, " ")
}
