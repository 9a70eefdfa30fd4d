//go:build !linux

package sink

import (
	"os"
	"testing"

	"github.com/logbridge/logbridge/natsd/natstest"
)

// TestMain runs all tests twice: on embedded servers, and on one cluster of three.
func TestMain(m *testing.M) { os.Exit(natstest.Run(m)) }
