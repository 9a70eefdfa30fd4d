package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/logbridge/logbridge/sink"
)

// TestRuntimeAsTheSinkWantsIt: serve collects garbage and uses processors as the sink measured best, unless the environment
// says otherwise.
func TestRuntimeAsTheSinkWantsIt(t *testing.T) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMAXPROCS") != "" {
		t.Skip("the environment sets them")
	}
	runtime.SetDefaultGOMAXPROCS() // a test of serve in this process may have changed it
	for _, c := range []struct {
		env, gogc, procs string
		want             []string
	}{
		{"as it is", "", "", []string{
			fmt.Sprintf("go_gc_gogc_percent %d\n", sink.GCPercent),
			fmt.Sprintf("go_sched_gomaxprocs_threads %d\n", runtime.GOMAXPROCS(0)+sink.ExtraProcs),
		}},
		{"set", "150", "1", []string{"go_gc_gogc_percent 150\n", "go_sched_gomaxprocs_threads 1\n"}},
	} {
		t.Run(c.env, func(t *testing.T) {
			t.Setenv("GOGC", c.gogc)
			t.Setenv("GOMAXPROCS", c.procs)
			s := newPlace(t, e2eConfig).start(anyone, anyone)
			text := s.metrics()
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("the metrics lack %q", want)
				}
			}
			s.stop(syscall.SIGTERM)
		})
	}
}
