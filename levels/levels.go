// Package levels holds how much each device is asked to log.
package levels

import (
	"context"
	"log/slog"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// Appender is the log that audit records and marker lines go to: *sink.Log.
type Appender interface {
	Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error)
}

// Config says what levels may be. The zero value is the default.
type Config struct {
	// Cap is the longest raise that is not permanent; 0 is 24 hours.
	Cap time.Duration
	// Default is how long a raise lasts when it is not said; 0 is 30 minutes.
	Default time.Duration
	// GlobalBase is the base level of everyone until SetBase says another. LevelOff, the zero value, means LevelError,
	// the level that real devices start with; silence for everyone can be had by SetBase.
	GlobalBase logbridge.Level
}

// Change is a level for one device.
type Change struct {
	Level logbridge.Level
	// For is how long; 0 is not said.
	For time.Duration
	// Permanent must be said for a raise without an end.
	Permanent bool
	Reason    string
	By        logbridge.Actor
}

// Override is a device whose level is its own.
type Override struct {
	Device logbridge.DeviceID
	logbridge.LevelState
}

// Levels holds them.
type Levels struct{}

// New reads all rules.
func New(ctx context.Context, node *natsd.Node, audit Appender, cfg Config, log *slog.Logger) (*Levels, error) {
	return &Levels{}, nil
}

// Run follows changes and ends rules.
func (l *Levels) Run(ctx context.Context) error { return nil }

// Effective is the level a device should have now.
func (l *Levels) Effective(id logbridge.DeviceID) logbridge.Level { return 0 }

// Set gives a device its own level.
func (l *Levels) Set(ctx context.Context, id logbridge.DeviceID, c Change) (logbridge.LevelState, error) {
	return logbridge.LevelState{}, nil
}

// Clear ends a device's own level; ErrNotFound when it has none.
func (l *Levels) Clear(ctx context.Context, id logbridge.DeviceID, by logbridge.Actor, reason string) error {
	return nil
}

// SetBase sets the base level of a product, or of everyone ("").
func (l *Levels) SetBase(ctx context.Context, product string, level logbridge.Level, by logbridge.Actor, reason string) error {
	return nil
}

// ClearBase lets a product follow everyone's base level again.
func (l *Levels) ClearBase(ctx context.Context, product string, by logbridge.Actor, reason string) error {
	return nil
}

// Base is the product's own base level or the global one.
func (l *Levels) Base(product string) logbridge.Level { return 0 }

// ProductBase is the product's own base level, if it has one.
func (l *Levels) ProductBase(product string) (logbridge.Level, bool) { return 0, false }

// State is what is wanted of a device and what was seen of it.
func (l *Levels) State(id logbridge.DeviceID) logbridge.LevelState { return logbridge.LevelState{} }

// Overrides lists the devices that have a level of their own, by product and name.
func (l *Levels) Overrides() []Override { return nil }

// OnChange registers fn to be told of each change; before Run.
func (l *Levels) OnChange(fn func(logbridge.LevelChange)) {}

// Observe takes note of what a device did.
func (l *Levels) Observe(o logbridge.Observation) {}

// Forget drops everything about a device that is no more registered.
func (l *Levels) Forget(ctx context.Context, id logbridge.DeviceID, by logbridge.Actor) error {
	return nil
}

// Stats are counts for metrics.
type Stats struct {
	Overrides     [logbridge.LevelDebug + 1]int // live device levels, by level
	AuditFailures uint64                        // audit records that could not be stored
}

// Stats counts.
func (l *Levels) Stats() Stats { return Stats{} }
