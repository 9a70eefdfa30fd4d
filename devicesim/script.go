package devicesim

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"math"
	"net"
	"time"
)

// Script says what happens to a fleet, or is wrong with it.
type Script string

// The scripts. With ScriptSteady, the default, nothing happens.
const (
	ScriptSteady    Script = "steady"
	ScriptStorm     Script = "storm"     // all devices lose their connections at once, every StormEvery, and come back at once
	ScriptNoisy     Script = "noisy"     // the first device writes noisyRate times as much as the others
	ScriptNoClock   Script = "noclock"   // clocks begin in 1970 at the start of the device
	ScriptWrongKeys Script = "wrongkeys" // half of the devices have a key that is not the registered one
	ScriptSlow      Script = "slow"      // devices take what the server sends a few bytes at a time
	ScriptSDK       Script = "sdk"       // devices speak as the SDKs for C, Java, Python and ESP do, in turn
)

// scripts are all that there are.
var scripts = []Script{ScriptSteady, ScriptStorm, ScriptNoisy, ScriptNoClock, ScriptWrongKeys, ScriptSlow, ScriptSDK}

const (
	// noisyRate makes one device as loud as a small fleet.
	noisyRate = 200
	// slowRead and slowPause are what a slow reader takes at a time, and how long it waits before: 160 bytes a second, which
	// an answer to the level question needs a second for.
	slowRead  = 16
	slowPause = 100 * time.Millisecond
	// slowBuffer asks the kernel for the smallest receive buffer, so that the server feels the slow reader.
	slowBuffer = 1
)

// play makes the i-th device what the script wants it to be.
func (f *Fleet) play(d *device, i int) {
	switch f.cfg.Script {
	case ScriptNoisy:
		if i == 0 {
			d.rate *= noisyRate
		}
	case ScriptNoClock:
		start := time.Now()
		d.clock = func(now time.Time) time.Time { return time.Unix(0, 0).UTC().Add(now.Sub(start)) }
	case ScriptWrongKeys:
		if i/2%2 == 1 { // of those who upload by HTTP and by MQTT alike
			d.PSK = wrongKey()
		}
	case ScriptSDK:
		d.dialect = dialects[i%len(dialects)]
	}
}

// wrongKey is a key of the usual shape that nobody has registered.
func wrongKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// stamp is what the device writes as the time of an upload, in unix seconds. One without a clock writes 0 (tencent-iot.md 4.4).
func (d *device) stamp() int64 {
	if d.fleet.cfg.Script == ScriptNoClock {
		return 0
	}
	return d.clock(time.Now()).Unix()
}

// gate is closed when the storm strikes that its devices wait for.
type gate chan struct{}

// weather strikes the whole fleet every StormEvery until ctx ends.
func (f *Fleet) weather(ctx context.Context) {
	for sleep(ctx, f.cfg.StormEvery) {
		struck := make(gate)
		close(*f.storm.Swap(&struck))
		f.stats.storms.Add(1)
	}
}

// slowConn is the connection of a device that reads slowly.
type slowConn struct {
	net.Conn
}

func slowly(raw net.Conn) (net.Conn, error) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(slowBuffer); err != nil {
			return nil, err
		}
	}
	return slowConn{raw}, nil
}

// Read waits, then takes a little.
func (c slowConn) Read(p []byte) (int, error) {
	time.Sleep(slowPause)
	return c.Conn.Read(p[:min(len(p), slowRead)])
}

// longMax is LONG_MAX of a 64-bit device, as the C SDK writes it into the user name.
const longMax = math.MaxInt64
