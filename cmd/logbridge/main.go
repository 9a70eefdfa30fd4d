// Command logbridge is the server, its command line client and its device simulator in one program.
//
// Exit codes: 0 done, 1 failed, 2 the command line or the configuration is wrong, as this program or the
// server sees it (its answers 400 and 422), 3 nothing was found, where that was asked for (logs --exit-code).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // products name time zones, and a small container image has none

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitNothing = 3
)

// commands is the whole command line.
type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Level   levelCmd   `cmd:"" help:"Say how much a device or a product logs."`
	Logs    logsCmd    `cmd:"" help:"Read what was logged, or follow it."`
	Ledger  ledgerCmd  `cmd:"" help:"Say what became of everything that came in."`
	Erase   eraseCmd   `cmd:"" help:"Erase all records of one device, store or service."`
	Device  deviceCmd  `cmd:"" help:"Register and look at devices."`
	Seal    sealCmd    `cmd:"" help:"Change the key that seals secrets at rest."`
	Token   tokenCmd   `cmd:"" help:"Make, list and revoke the tokens that this API and uploads of services need."`
	Sim     simCmd     `cmd:"" help:"Simulate a fleet of devices against a running server."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// program is what commands get: where to write, and when to stop.
type program struct {
	ctx            context.Context
	stdout, stderr io.Writer
}

// errNothing ends a command whose user asked to be told by the exit code that there is nothing.
var errNothing = errors.New("nothing found")

// usageError is a fault of the caller's, which ends with exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A reader that went away, as in "logbridge logs | head", shall end a command quietly, with the write's error.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(execute(program{ctx, os.Stdout, os.Stderr}, os.Args[1:]))
}

// execute runs one command line and returns the exit code.
func execute(p program, args []string) int {
	var cmds commands
	exit := -1
	parser, err := kong.New(&cmds, kong.Name("logbridge"), kong.Writers(p.stdout, p.stderr), kong.UsageOnError(),
		kong.Description("Device fleets and web pages log into it; operators read and steer from it."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Exit(func(code int) { exit = code }))
	if err != nil {
		return p.fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if exit >= 0 { // --help has printed all there is to say
		return exit
	}
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "logbridge: %v\nSee logbridge --help.\n", err)
		return exitUsage
	}
	return p.fail(ctx.Run(p))
}

// fail prints err, if there is one worth printing, and returns its exit code.
func (p program) fail(err error) int {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return exitOK
	}
	if errors.Is(err, errNothing) {
		return exitNothing
	}
	_, _ = fmt.Fprintf(p.stderr, "logbridge: %v\n", err)
	if errors.As(err, &usageError{}) || malformed(err) {
		return exitUsage
	}
	return exitFailure
}

// log is the program's own log, on stderr.
func (p program) log() *slog.Logger { return slog.New(slog.NewTextHandler(p.stderr, nil)) }

type versionCmd struct{}

func (versionCmd) Run(p program) error {
	_, err := fmt.Fprintln(p.stdout, "logbridge", version())
	return err
}

// version is what the Go tool wrote into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
