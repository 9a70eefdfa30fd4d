package logbridge

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The slots are for ever: a device must not leave a rule for a percentage by an update of the server.
func TestSlots(t *testing.T) {
	vectors, err := os.ReadFile("testdata/slots.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(vectors)) {
		var name string
		var want int
		if _, err := fmt.Sscan(line, &name, &want); err != nil || strings.HasPrefix(line, "#") {
			continue
		}
		id, err := ParseDeviceID(name)
		if err != nil {
			t.Fatal(err)
		}
		if n++; id.Slot() != want {
			t.Errorf("slot of %s: %d, want %d", name, id.Slot(), want)
		}
	}
	if n < 7 {
		t.Errorf("only %d vectors", n)
	}
	if n := testing.AllocsPerRun(100, func() { DeviceID{"ABCDE12345", "dev_01"}.Slot() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A percentage of a fleet with running numbers is about that part of it.
func TestSlotsAreSpread(t *testing.T) {
	const fleet = 20_000
	for _, percent := range []int{1, 10, 50} {
		n := 0
		for i := range fleet {
			if (DeviceID{"ABCDE12345", fmt.Sprintf("dev_%05d", i)}).Slot() < percent*Slots/100 {
				n++
			}
		}
		if want := fleet * percent / 100; n < want*8/10 || n > want*12/10 {
			t.Errorf("%d %% of %d devices are %d, want about %d", percent, fleet, n, want)
		}
	}
}

func TestSelector(t *testing.T) {
	tags := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("k", i)] = "v"
		}
		return m
	}
	for _, row := range []struct {
		s    LevelSelector
		text string // "" is refused
	}{
		{LevelSelector{Product: "ABCDE12345"}, "product=ABCDE12345"},
		{LevelSelector{DeviceGlob: "dev-[0-4]*"}, "glob=dev-[0-4]*"},
		{LevelSelector{Tags: map[string]string{"site": "lab", "a": ""}}, "tag:a= tag:site=lab"},
		{LevelSelector{Percent: 0.01}, "percent=0.01"},
		{LevelSelector{Product: "ABCDE12345", DeviceGlob: "d*", Tags: tags(1), Percent: 12.34}, "product=ABCDE12345 glob=d* tag:k0=v percent=12.34"},
		{LevelSelector{Percent: 100}, "percent=100"},
		{LevelSelector{Tags: tags(32)}, ""},
		{LevelSelector{}, ""},
		{LevelSelector{Product: "x"}, ""},
		{LevelSelector{DeviceGlob: "dev-[0"}, ""},
		{LevelSelector{DeviceGlob: "a\nb"}, ""},
		{LevelSelector{DeviceGlob: strings.Repeat("*", 129)}, ""},
		{LevelSelector{Tags: tags(33)}, ""},
		{LevelSelector{Tags: map[string]string{"": "v"}}, ""},
		{LevelSelector{Tags: map[string]string{"k": "a\x00"}}, ""},
		{LevelSelector{Percent: -1}, ""},
		{LevelSelector{Percent: 100.01}, ""},
		{LevelSelector{Percent: 0.001}, ""},
	} {
		err := row.s.Validate()
		if len(row.s.Tags) == 32 {
			if err != nil {
				t.Errorf("%v: %v", row.s, err)
			}
			continue
		}
		if row.text == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", row.s, err)
			}
			continue
		}
		if err != nil || row.s.String() != row.text {
			t.Errorf("%+v: %q, %v", row.s, row.s, err)
		}
	}
}
