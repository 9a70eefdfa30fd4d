package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// addresses tries every address that serve listens on. One that the running server has is well.
func (e *examination) addresses() {
	held := map[string]func(){}
	defer func() {
		for _, release := range held {
			release()
		}
	}()
	for _, a := range e.cfg.addresses() {
		check := "address --" + a.flag
		if a.flag == "admin" && a.addr == e.cfg.HTTP { // one listener serves both
			continue
		}
		if checkAddress(a.addr) != nil { // the configuration's fault already
			continue
		}
		l, err := net.Listen("tcp", a.addr)
		if err == nil {
			held[a.flag] = func() { _ = l.Close() } // at the end, so that one address for two flags is found too
			if strings.HasSuffix(a.addr, ":0") {
				e.ok(check, "%s: a free port is taken at each start", a.addr)
			} else {
				e.ok(check, "%s is free", a.addr)
			}
			continue
		}
		who := listener(a.addr)
		switch {
		case errors.Is(err, syscall.EADDRINUSE) && who.pid == os.Getpid():
			e.fail(check, a.addr+" is given to two flags", "choose another port with --"+a.flag)
		case errors.Is(err, syscall.EADDRINUSE) && e.running && (who.pid == 0 || strings.Contains(who.name, "logbridge")):
			e.ok(check, "%s is taken by the server that runs (%s)", a.addr, who)
		case errors.Is(err, syscall.EADDRINUSE):
			e.fail(check, fmt.Sprintf("%s is taken by %s", a.addr, who), "stop that, or choose another port with --"+a.flag)
		case errors.Is(err, syscall.EACCES):
			e.fail(check, err.Error(), "ports below 1024 need a right: use a higher one with --"+a.flag+", or setcap cap_net_bind_service=+ep on the program")
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			e.fail(check, a.addr+": this machine has no such address", "use 0.0.0.0, 127.0.0.1 or an address of this machine with --"+a.flag)
		default:
			e.fail(check, err.Error(), "choose another address with --"+a.flag)
		}
	}
}

// holder is a process that listens somewhere; pid 0 is unknown.
type holder struct {
	pid  int
	name string
}

func (h holder) String() string {
	if h.pid == 0 {
		return "a process that cannot be told; as root this says more"
	}
	return fmt.Sprintf("%s, process %d", h.name, h.pid)
}

// listener finds who listens on a port, in Linux's /proc: the socket's inode by its port, and the process that has it open. Sockets of
// other users' processes are not seen without their rights, nor anything on other systems.
func listener(addr string) holder {
	_, text, err := net.SplitHostPort(addr)
	port, err2 := strconv.Atoi(text)
	if err != nil || err2 != nil {
		return holder{}
	}
	sockets := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, _ := os.ReadFile(file) // not there: nothing is found
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			const listening = "0A"
			if len(f) > 9 && f[3] == listening && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && sockets[to] {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm") // it may have ended
			n, _ := strconv.Atoi(pid)
			return holder{n, strings.TrimSpace(string(name))}
		}
	}
	return holder{}
}

// What is good enough of a clock.
const (
	firstYear = 2025 // before the first release
	lastYear  = 2099
	// clockSamples, so far apart, is a second in all.
	clockSamples = 20
	clockEvery   = 50 * time.Millisecond
	// clockStep: slewing a clock changes less in that time.
	clockStep = 20 * time.Millisecond
	// clockApart: the Date of HTTP is of whole seconds, and the answer takes time.
	clockApart = 3 * time.Second
	// dateTimeout bounds the wait for the server on this machine.
	dateTimeout = 2 * time.Second
)

// clock checks that the time of day is plausible and goes as the monotonic clock does, and that the running server has the same.
func (e *examination) clock(ctx context.Context) {
	const check = "clock"
	now := time.Now()
	if y := now.Year(); y < firstYear || y > lastYear {
		e.fail(check, "it says "+now.Format(time.DateTime), "set it, and run a time service (chrony, systemd-timesyncd): levels end and certificates expire by it")
		return
	}
	if step := clockSteps(ctx); step > clockStep || step < -clockStep {
		e.warn(check, fmt.Sprintf("the time of day moved by %s against the monotonic clock within a second", step), "run one time service only, and one that slews (chrony)")
		return
	}
	date, err := serverDate(ctx, e.cfg)
	switch apart := time.Until(date).Round(time.Second); {
	case err != nil:
		e.ok(check, "%s, steady; no server answers here to compare", now.UTC().Format(time.RFC3339))
	case apart > clockApart || apart < -clockApart:
		e.warn(check, fmt.Sprintf("the server at %s is %s off", e.cfg.HTTP, apart), "see which clock is right, and run a time service on both machines")
	default:
		e.ok(check, "%s, steady, and as the server's", now.UTC().Format(time.RFC3339))
	}
}

// clockSteps is by how much the time of day moved against the monotonic clock, at the worst, between two looks.
func clockSteps(ctx context.Context) (worst time.Duration) {
	ticks := time.NewTicker(clockEvery)
	defer ticks.Stop()
	last := time.Now()
	for range clockSamples {
		select {
		case <-ctx.Done():
			return worst
		case <-ticks.C:
		}
		now := time.Now()
		wall := now.Round(0).Sub(last.Round(0)) // without the monotonic reading
		if step := wall - now.Sub(last); step.Abs() > worst.Abs() {
			worst = step
		}
		last = now
	}
	return worst
}

// serverDate asks the server that these settings speak of, on this machine, for its time.
func serverDate(ctx context.Context, cfg Config) (time.Time, error) {
	host, port, err := net.SplitHostPort(cfg.HTTP)
	if err != nil || port == "0" {
		return time.Time{}, errors.New("no address")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, dateTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return time.Time{}, err
	}
	direct := http.Client{Transport: &http.Transport{Proxy: nil}} // it is on this machine
	defer direct.CloseIdleConnections()
	res, err := direct.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	_ = res.Body.Close()
	return http.ParseTime(res.Header.Get("Date"))
}

// otherFiles is what a server has open beside connections: segments, the commit log, its own.
const otherFiles = 1000

// httpConnections is the bound of each HTTP listener (httpapi.Config.MaxConnections).
const httpConnections = 10_000

// descriptors compares the limit of open files with the connections that are allowed. Go raises the soft limit to the hard one
// at its start, so the hard one counts.
func (e *examination) descriptors() {
	const check = "open files"
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		e.skip(check, "%v", err)
		return
	}
	listeners := len(slices.DeleteFunc(e.cfg.addresses(), func(a address) bool { return strings.HasPrefix(a.flag, "mqtt") }))
	need := uint64(e.cfg.MQTTMaxConnections + listeners*httpConnections + otherFiles)
	if limit.Max >= need {
		e.ok(check, "the limit of %d is enough for --mqtt-max-connections %d and HTTP", limit.Max, e.cfg.MQTTMaxConnections)
		return
	}
	fits := max(int64(limit.Max)-int64(listeners*httpConnections+otherFiles), 0)
	detail := fmt.Sprintf("the limit is %d, and %d connections of MQTT and %d of HTTP may want %d", limit.Max, e.cfg.MQTTMaxConnections, listeners*httpConnections, need)
	do := fmt.Sprintf("set LimitNOFILE=%d in the systemd unit (ulimit -Hn, or --ulimit nofile= of a container)", need)
	if fits > 0 {
		do += fmt.Sprintf(", or --mqtt-max-connections %d", fits)
	}
	e.warn(check, detail, do)
}
