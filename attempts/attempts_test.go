package attempts

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("198.51.100.1")
)

func device(i int) logbridge.DeviceID {
	return logbridge.DeviceID{Product: "ABCDE12345", Device: fmt.Sprint("dev_", i)}
}

// limiter is one whose clock stands still until the test moves it.
func limiter() (*Limiter, *time.Time) {
	now := time.Unix(1_800_000_000, 0)
	l := New()
	l.now = func() time.Time { return now }
	return l, &now
}

// fail lets a login fail as often as it is looked at, and says how often that was.
func (l *Limiter) fail(from netip.Addr, id logbridge.DeviceID, most int) (looked int) {
	for range most {
		if l.Allowed(from, id) {
			looked++
			l.Failed(from, id, true)
		}
	}
	return looked
}

func TestOnePairIsLimitedAndForgiven(t *testing.T) {
	l, now := limiter()
	if n := l.fail(here, device(1), 1000); n != int(ofPair.burst) {
		t.Errorf("%d failures were looked at, want %v", n, ofPair.burst)
	}
	if !l.Allowed(there, device(1)) {
		t.Error("the device is kept out elsewhere")
	}
	if !l.Allowed(here, device(2)) {
		t.Error("another device at the address is kept out")
	}
	*now = now.Add(10 * ofPair.every)
	if n := l.fail(here, device(1), 1000); n != 10 {
		t.Errorf("after the time of ten, %d are looked at", n)
	}
	*now = now.Add(-time.Hour)
	if l.Allowed(here, device(1)) {
		t.Error("a clock that was set back forgives")
	}
	*now = now.Add(2 * time.Hour)
	if n := l.fail(here, device(1), 1000); n != int(ofPair.burst) {
		t.Errorf("after an hour, %d are looked at", n)
	}
}

// Ten thousand wrong keys behind one address: each has its first answer, and who has not failed gets in.
func TestFleetBehindOneAddress(t *testing.T) {
	l, _ := limiter()
	looked := 0
	for i := range 10_000 {
		looked += l.fail(here, device(i), 3)
	}
	if most := 10_000 + 2*int(ofAddress.burst); looked < 10_000 || looked > most {
		t.Errorf("%d failures were looked at, want 10000 to %d", looked, most)
	}
	for i := 10_000; i < 20_000; i++ {
		if !l.Allowed(here, device(i)) {
			t.Fatal("a device that never failed is kept out")
		}
	}
}

// A thousand addresses guess at one device: each is heard once, and the device's own address still.
func TestGuessesAtOneDevice(t *testing.T) {
	l, _ := limiter()
	looked := 0
	for i := range 1000 {
		looked += l.fail(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), device(1), 10)
	}
	if looked < 1000 || looked > 1000+int(ofDevice.burst) {
		t.Errorf("%d guesses were looked at", looked)
	}
	if !l.Allowed(here, device(1)) {
		t.Error("the device is kept out")
	}
}

// Names that nobody has are counted with their address only, and an IPv6 customer has one allowance.
func TestUnknownNamesAndPrefixes(t *testing.T) {
	l, _ := limiter()
	for i := range 100_000 {
		l.Failed(here, device(i), false)
	}
	if l.Len() != 1 {
		t.Errorf("%d entries", l.Len())
	}
	l.fail(netip.MustParseAddr("2001:db8::1"), device(1), 1000)
	if l.Allowed(netip.MustParseAddr("2001:db8::2"), device(1)) {
		t.Error("another address of the same prefix has an allowance of its own")
	}
	if !l.Allowed(netip.MustParseAddr("2001:db8:0:1::1"), device(1)) {
		t.Error("another prefix has none")
	}
	l.fail(netip.MustParseAddr("::ffff:192.0.2.9"), device(1), 1000)
	if l.Allowed(netip.MustParseAddr("192.0.2.9"), device(1)) {
		t.Error("the same address in two forms has two allowances")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l, now := limiter()
	for i := range maxEntries {
		l.Failed(here, device(i), true)
		*now = now.Add(time.Microsecond)
	}
	if n := l.Len(); n > maxEntries {
		t.Errorf("%d entries", n)
	}
	*now = now.Add(time.Hour)
	for i := range maxEntries {
		l.Failed(there, device(maxEntries+i), true)
	}
	if n := l.Len(); n > maxEntries {
		t.Errorf("%d entries", n)
	}
}
