package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/devicesim"
)

type simCmd struct {
	Client
	Devices    int           `default:"100" placeholder:"N" help:"How many (${default})."`
	Duration   time.Duration `default:"60s" placeholder:"TIME" help:"How long (${default}); Ctrl-C ends it earlier."`
	Product    string        `short:"p" default:"SIMFLEET01" placeholder:"PRODUCT" help:"Of which product (${default}); it is made, at debug, if it is missing."`
	Upload     string        `enum:"http,mqtt,mixed" default:"mixed" help:"How lines are sent: http, mqtt or mixed (${default})."`
	Rate       float64       `default:"1" placeholder:"N" help:"Lines a second of each device at debug (${default}); at a quieter level it writes fewer."`
	Ask        time.Duration `default:"10s" placeholder:"TIME" help:"How often each device asks for its level (${default})."`
	Script     string        `enum:"steady,storm,noisy,noclock,wrongkeys,slow,sdk" default:"steady" help:"What happens: steady, storm (all reconnect at once, every 5 s), noisy (one device), noclock (1970), wrongkeys (half of the devices), slow (readers) or sdk (C, Java, Python and ESP in turn) (${default})."`
	StormEvery time.Duration `default:"5s" placeholder:"TIME" help:"How often the storm of --script storm strikes (${default})."`
	MQTT       string        `name:"mqtt" env:"LOGBRIDGE_MQTT" default:"127.0.0.1:1883" placeholder:"ADDR" help:"Address of the broker (${default})."`
}

// Bounds of a simulation.
const (
	mostDevices = 100_000
	// registering keeps so many calls under way while missing devices are made.
	registering = 16
)

func (c simCmd) Run(p program) error {
	if c.Devices < 1 || c.Devices > mostDevices {
		return usageError{fmt.Errorf("--devices: give a number from 1 to %d", mostDevices)}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	devices, err := server.fleet(p.ctx, c.Product, c.Devices)
	if err != nil {
		return err
	}
	fleet, err := devicesim.New(devicesim.Config{
		Broker: c.MQTT, HTTP: c.URL, Devices: devices, Upload: devicesim.Upload(c.Upload), LineRate: c.Rate, AskEvery: c.Ask,
		Script: devicesim.Script(c.Script), StormEvery: c.StormEvery,
	}, p.log())
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(p.ctx, c.Duration)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	return report(p, fleet, ended)
}

// report prints a line a second until the fleet has ended, and then the summary.
func report(p program, fleet *devicesim.Fleet, ended <-chan error) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	start := time.Now()
	for {
		select {
		case now := <-ticker.C:
			n := fleet.Stats()
			_, err := fmt.Fprintf(p.stdout, "%3.0fs connected %d asked %d answered %d pushed %d written %d sent %d acknowledged %d refused %d failed %d\n",
				now.Sub(start).Seconds(), n.Connected, n.Asked, n.Answered, n.Pushed, n.LinesWritten, n.Sent, n.Acknowledged, n.Refused, n.Failed)
			if err != nil {
				return err
			}
		case err := <-ended:
			n := fleet.Stats()
			_, werr := fmt.Fprintf(p.stdout, "summary: %d logins, %d lines sent, %d acknowledged, %d refused, %d dropped, %d attempts failed, %d lines unanswered; %d levels asked, %d answered, round trip p50 %s p99 %s%s\n",
				n.Connects, n.Sent, n.Acknowledged, n.Refused, n.Dropped, n.Failed, n.Unanswered, n.Asked, n.Answered, n.RoundTripP50.Round(time.Microsecond), n.RoundTripP99.Round(time.Microsecond), lastFailure(n))
			return errors.Join(err, werr, anyLogin(n))
		}
	}
}

// anyLogin fails a simulation in which no device was ever logged in: it has shown nothing.
func anyLogin(n devicesim.Counts) error {
	if n.Connects > 0 {
		return nil
	}
	return errors.New("no device could log in; is --mqtt the broker of the server at --url?")
}

// lastFailure is the end of the summary.
func lastFailure(n devicesim.Counts) string {
	if n.LastFailure == "" {
		return ""
	}
	return "; the last attempt that failed: " + n.LastFailure
}

// keyTag marks a simulated device with a fingerprint of what its key was derived from, so that the next simulation
// with the same token knows that it need not be registered again.
const keyTag = "sim"

// fleet makes sure that n simulated devices of the product exist. Their keys are derived from the token: nothing has
// to be stored here, and nobody else can compute them.
func (a *api) fleet(ctx context.Context, product string, n int) ([]devicesim.Credential, error) {
	if err := logbridge.ValidateProductID(product); err != nil {
		return nil, usageError{err}
	}
	if err := a.ensureProduct(ctx, product); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte("simulated devices of " + a.token))
	mark := hex.EncodeToString(sum[:4])
	there := map[string]bool{}
	for d, err := range a.devices(ctx, url.Values{"product": {product}, "q": {"sim-"}}) {
		if err != nil {
			return nil, err
		}
		there[d.Device] = d.Tags[keyTag] == mark
	}
	devices := make([]devicesim.Credential, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(registering)
	for i := range devices {
		id := logbridge.DeviceID{Product: product, Device: fmt.Sprintf("sim-%05d", i+1)}
		devices[i] = devicesim.Credential{ID: id, PSK: derivedPSK(a.token, id)}
		if there[id.Device] {
			continue
		}
		group.Go(func() error {
			_, err := a.putDevice(ctx, id, deviceWish{PSK: devices[i].PSK, Tags: map[string]string{keyTag: mark}})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("register devices: %w", err)
	}
	return devices, nil
}

// ensureProduct makes the product, at debug so that its devices write all they can, if it is missing; one that is there
// keeps its settings.
func (a *api) ensureProduct(ctx context.Context, product string) error {
	err := a.call(ctx, http.MethodGet, escape("products", product), nil, nil)
	if notFound(err) {
		err = a.call(ctx, http.MethodPut, escape("products", product), map[string]any{"level": logbridge.LevelDebug}, nil)
	}
	if err != nil {
		return fmt.Errorf("product %s: %w", product, err)
	}
	return nil
}

// derivedPSK is a device secret of the usual shape: base64 of 16 bytes.
func derivedPSK(token string, id logbridge.DeviceID) string {
	mac := hmac.New(sha256.New, []byte(token))
	_, _ = mac.Write([]byte("simulated device " + id.String())) // a hash.Hash never fails
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)[:16])
}
