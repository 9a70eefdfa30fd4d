package loki

import (
	"time"
)

// formatDuration writes a duration as LogQL has it, in its largest unit that divides it.
func formatDuration(d time.Duration) string { return d.String() }
