package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// events is a request body as the browser SDK makes it, of about 240 bytes an event.
func events(n, seed int) []byte {
	logs := make([]map[string]string, n)
	for i := range logs {
		k := seed*n + i
		logs[i] = map[string]string{
			"event": []string{"page", "click", "search", "cart"}[k%4], "path": fmt.Sprintf("/shop/lamps/%d", k*7919%1000),
			"user": fmt.Sprintf("u-%06d", k*104729%1000000), "status": []string{"200", "200", "200", "404"}[k/4%4],
			"duration_ms": strconv.Itoa(k * 31 % 900), "referrer": "https://www.example.com/campaign/summer", "agent": "Mozilla/5.0 (X11; Linux x86_64)",
		}
	}
	body, _ := json.Marshal(map[string]any{"__logs__": logs, "__topic__": "shop"}) // maps of strings cannot fail
	return body
}

// ingest posts events over keep-alive connections.
func (w *benchWorld) ingest(b *testing.B, clients, n int) figures {
	const bodies = 64
	requests := make([][]byte, bodies)
	for i := range requests {
		requests[i] = rawRequest("/logstores/mystore/track?APIVersion=0.6.0", events(n, i))
	}
	return w.hammer(b, clients, float64(n), func(i int) (func() error, func(), error) {
		c, err := dialHTTP(w.s.addr("http"))
		if err != nil {
			return nil, nil, err
		}
		next := i
		once := func() error { next++; return c.do(requests[next%bodies]) }
		return once, func() { _ = c.conn.Close() }, nil
	})
}

// benchNonce makes each upload of a run another one.
var benchNonce atomic.Int64

// reports posts signed lines of devices, each upload over a connection that the server closes, as the C SDK needs it. The lines differ,
// since the same line of a device twice is one. Signing is done by the client, for the limit too, which does not look at it.
func (w *benchWorld) reports(b *testing.B, n int) figures {
	return w.hammer(b, benchClients, float64(n), func(i int) (func() error, func(), error) {
		id := benchDevice(i)
		once := func() error {
			nonce := strconv.FormatInt(benchNonce.Add(1), 10)
			lines := make([]string, n)
			for k := range lines {
				lines[k] = "WRN|" + time.Now().UTC().Format("2006-01-02 15:04:05,000") + "|pump.c|run(42)|pressure is " + nonce + "." + strconv.Itoa(k)
			}
			u, err := newUpload(id, nonce, lines...)
			if err != nil {
				return err
			}
			c, err := dialHTTP(w.s.addr("http"))
			if err != nil {
				return err
			}
			defer c.conn.Close()
			request := fmt.Appendf(nil, "POST /device/reportlog HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n", len(u.body))
			for name := range u.header {
				request = fmt.Appendf(request, "%s: %s\r\n", name, u.header.Get(name))
			}
			return c.do(append(append(request, "\r\n"...), u.body...))
		}
		return once, func() {}, nil
	})
}

// resident is the memory of the server's process in megabytes.
func (w *benchWorld) resident(b *testing.B) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kilobytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kilobytes / 1000
}

// cpu is what the server's process has used of the processors, all threads.
func (w *benchWorld) cpu(b *testing.B) time.Duration { return cpuOf(b, w.s.cmd.Process.Pid) }

func cpuOf(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before may hold spaces
	fields := strings.Fields(rest)
	const user, system, ticks = 11, 12, 100 // ticks a second: USER_HZ is 100 wherever Go runs
	u, err1 := strconv.Atoi(fields[user])
	k, err2 := strconv.Atoi(fields[system])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(u+k) * time.Second / ticks
}
