package devicesim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// component is one part of a device's firmware: its source file and what it says at each level. Each %d becomes a
// number below 1000.
type component struct {
	file                     string
	debug, info, warn, error []string
}

var components = []component{
	{
		file:  "sensor.c",
		debug: []string{"sample %d raw=0x%x", "i2c read 6 bytes in %d us", "filter window moved to %d"},
		info:  []string{"temperature report %d values sent", "calibration kept after %d samples"},
		warn:  []string{"sample %d out of range, using the last one", "sensor slow: %d ms"},
		error: []string{"i2c timeout after %d ms, bus reset", "sensor %d gives no data"},
	}, {
		file:  "mqtt_client.c",
		debug: []string{"ping sent, last answer %d ms ago", "publish id %d queued", "read buffer %d bytes"},
		info:  []string{"subscribed, %d topics in all", "time synchronised, offset %d ms"},
		warn:  []string{"publish id %d sent again", "ping answer late by %d ms"},
		error: []string{"publish id %d gave up after 3 attempts", "socket error %d"},
	}, {
		file:  "power.c",
		debug: []string{"battery adc %d", "wake-up source %d", "sleep for %d ms"},
		info:  []string{"charger connected, %d mA", "battery at %d permille"},
		warn:  []string{"battery low: %d mV", "brown-out %d since the start"},
		error: []string{"charger fault 0x%x", "battery temperature sensor failed (%d)"},
	}, {
		file:  "ota.c",
		debug: []string{"manifest checked, %d bytes", "chunk %d stored"},
		info:  []string{"no newer firmware than build %d", "download at %d permille"},
		warn:  []string{"download stalled for %d s", "chunk %d asked for again"},
		error: []string{"checksum of chunk %d is wrong, update stopped", "no space for %d blocks"},
	}, {
		file:  "wifi.c",
		debug: []string{"beacon rssi -%d", "scan found %d networks", "tx retries %d"},
		info:  []string{"roamed to channel %d", "address renewed for %d s"},
		warn:  []string{"signal weak, %d retries", "access point left, join %d"},
		error: []string{"join failed with reason %d", "no address after %d s"},
	}, {
		file:  "motor.c",
		debug: []string{"position %d target reached", "current %d mA", "step timer %d us"},
		info:  []string{"cycle %d finished", "homing took %d ms"},
		warn:  []string{"current near its limit: %d mA", "position off by %d steps"},
		error: []string{"stall detected at step %d", "end switch not reached in %d ms"},
	},
}

// componentsEach is how many of the components one device has.
const componentsEach = 3

// story invents one device's lines. The same device always has the same components; its lines differ from run to run,
// and each carries an id that no other line of any run has.
type story struct {
	rng   *rand.Rand
	parts []component
	boot  string // names this run in line ids
	n     int
}

func newStory(id logbridge.DeviceID) *story {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id.String())) // a hash.Hash never fails
	seeded := rand.New(rand.NewPCG(h.Sum64(), 0))
	s := &story{boot: fmt.Sprintf("%08x", rand.Uint32())}
	for _, i := range seeded.Perm(len(components))[:componentsEach] {
		s.parts = append(s.parts, components[i])
	}
	s.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	return s
}

// next is the next thing that happens: most are worth debug, few are errors.
func (s *story) next(now time.Time) tencent.Line {
	part := s.parts[s.rng.IntN(len(s.parts))]
	level, texts := logbridge.LevelDebug, part.debug
	switch p := s.rng.IntN(100); {
	case p < 5:
		level, texts = logbridge.LevelError, part.error
	case p < 15:
		level, texts = logbridge.LevelWarn, part.warn
	case p < 35:
		level, texts = logbridge.LevelInfo, part.info
	}
	return s.line(now, level, part.file, s.fill(texts[s.rng.IntN(len(texts))]))
}

// line makes a line with the next id.
func (s *story) line(now time.Time, level logbridge.Level, file, text string) tencent.Line {
	s.n++
	return tencent.Line{Level: level, Time: now, Tag: file, Text: fmt.Sprintf("%s #%s-%d", text, s.boot, s.n)}
}

// announcement is what the C SDK says after a change of level. The number of the level ends it, so the line's id comes
// first: without one, the same change twice within a second would be the same line.
func (s *story) announcement(now time.Time, level logbridge.Level) tencent.Line {
	s.n++
	text := fmt.Sprintf("#%s-%d Upload log level change to: %d", s.boot, s.n, level)
	return tencent.Line{Level: logbridge.LevelWarn, Time: now, Tag: "log_mqtt.c", Text: text}
}

// fill gives each verb of a text a number.
func (s *story) fill(text string) string {
	var args []any
	for i := range len(text) {
		if text[i] == '%' {
			args = append(args, s.rng.IntN(1000))
		}
	}
	return fmt.Sprintf(text, args...)
}
