// Command logbridge is the server, its command line client and its device simulator in one program.
//
// Its exit codes are in exitCodes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // products name time zones, and a small container image has none

	"github.com/alecthomas/kong"
)

// exitCodes is what --help says of them. A usage error is one that this program sees, or the server by its answers 400 and 422.
const exitCodes = "Exit codes: 0 done, also when the reader of a pipe goes away; 1 failed; 2 the command line or the configuration is wrong; " +
	"3 nothing was found, where that was asked for (logs --exit-code)."

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
	Audit   auditCmd   `cmd:"" help:"Read who changed what, and why."`
	Ledger  ledgerCmd  `cmd:"" help:"Say what became of everything that came in."`
	Erase   eraseCmd   `cmd:"" help:"Erase all records of one device, store or service."`
	Product productCmd `cmd:"" help:"Products: their base level, time zone and quota."`
	Device  deviceCmd  `cmd:"" help:"Register and look at devices."`
	Sls     slsCmd     `cmd:"" help:"Alibaba SLS: projects, logstores and access keys."`
	Cls     clsCmd     `cmd:"" help:"Tencent CLS: topics and access keys."`
	Sts     stsCmd     `cmd:"" help:"Make an access key for one logstore that ends by itself, and print it."`
	Doctor  doctorCmd  `cmd:"" help:"Check everything that serve needs, and say what to do."`
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
		kong.Description("Device fleets and web pages log into it; operators read and steer from it.\n\n"+exitCodes),
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
	if text := advice(err); text != "" {
		_, _ = fmt.Fprintln(p.stderr, text)
	}
	if errors.As(err, &usageError{}) || malformed(err) {
		return exitUsage
	}
	return exitFailure
}

// advice says what to do about an error that is not the request's own: no server, or a token that is not good enough.
func advice(err error) string {
	var answer *problem
	var network *url.Error
	switch {
	case errors.As(err, &answer) && answer.Code == "unauthorized":
		return "Name a token that this server knows with --token-file, LOGBRIDGE_TOKEN_FILE or LOGBRIDGE_TOKEN: serve prints where the administrator's is."
	case errors.As(err, &answer) && answer.Code == "forbidden":
		return "Use a token of a higher role or a wider scope, or ask an administrator for one: logbridge token create."
	case errors.As(err, &network) && !network.Timeout() && !errors.Is(err, context.Canceled):
		return "Start the server (logbridge serve), or say where it is with --url or LOGBRIDGE_URL; logbridge doctor says what is wrong there."
	}
	return ""
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
