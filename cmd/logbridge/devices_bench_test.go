package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// How many devices are registered, connected and raised, and how often each list is asked for.
const (
	registeredDevices = 100_000
	connectedDevices  = 300
	raisedDevices     = 20
	devicePages       = 40
)

// BenchmarkDevicesPage prints how long 100 000 devices take to register in one call, and again, and how long a page of their
// list takes by each filter, at the client.
func BenchmarkDevicesPage(b *testing.B) {
	home := newPlace(b, "provision:\n  products: [{id: BENCH12345}]\n")
	s := home.start(anyone, anyone)
	client := s.operator()
	var file bytes.Buffer
	for i := range registeredDevices {
		line, _ := json.Marshal(map[string]any{"product": "BENCH12345", "device": benchDevice(i).Device, "psk": e2ePSK,
			"tags": map[string]string{"site": "hall-" + strconv.Itoa(i%1000), "model": "m" + strconv.Itoa(i%5)}}) // strings cannot fail
		file.Write(append(line, '\n'))
	}
	for b.Loop() {
		fmt.Printf("%d devices of one product, in pages of 100.\n\n", registeredDevices)
		for _, what := range []string{"registered in one call", "and the same call again"} {
			begun, cpu := time.Now(), cpuOf(b, s.cmd.Process.Pid)
			summary, err := importAll(b.Context(), client, bytes.NewReader(file.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			fmt.Printf("%-50s %8.1f s, %5.1f s CPU   %s\n", what, time.Since(begun).Seconds(), (cpuOf(b, s.cmd.Process.Pid) - cpu).Seconds(), summary)
		}
		for i := range connectedDevices { // spread over the whole list
			d, err := dialMQTT(s.addr("mqtt"), benchDevice(i*(registeredDevices/connectedDevices)), e2ePSK)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = d.conn.Close() }()
		}
		for i := range raisedDevices {
			path := devicePath(benchDevice(i*(registeredDevices/raisedDevices))) + "/level"
			if err := client.call(b.Context(), http.MethodPut, path, map[string]any{"level": logbridge.LevelDebug, "reason": "bench"}, nil); err != nil {
				b.Fatal(err)
			}
		}
		fmt.Printf("\n%-50s %9s %9s %9s %9s %9s\n", "", "devices", "pages", "p50", "p99", "CPU each")
		for _, query := range []string{"", "product=BENCH12345", "q=dev-9999", "q=dev-99999", "tag=site:hall-7", "tag=site:hall-7&tag=model:m2", "online=true", "level=debug",
			"state=unsupported", "sort=lines", "sort=dropped"} {
			measurePages(b, client, s.cmd.Process.Pid, query)
		}
	}
}

// importAll imports and gives the summary as it came.
func importAll(ctx context.Context, client *api, file io.Reader) (summary string, err error) {
	res, err := client.send(ctx, http.MethodPost, "/devices/import", file)
	if err != nil {
		return "", err
	}
	err = readLines(res.Body, func(line []byte) error { summary = string(line); return nil })
	return summary, err
}

// measurePages walks the list that a query gives, again and again, and prints a row; CPU is the server's.
func measurePages(b *testing.B, client *api, pid int, query string) {
	measure(b, client, pid, query, false)
	measure(b, client, pid, query, true)
}

// measure walks a list, or asks for its first page alone, which has the total.
func measure(b *testing.B, client *api, pid int, query string, firstPage bool) {
	values, err := url.ParseQuery(query)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	devices, pages, cpu := 0, 0, cpuOf(b, pid)
	for first := true; len(took) < devicePages; first = false {
		values.Del("cursor")
		for more := true; more && len(took) < devicePages; {
			var page devicePage
			begun := time.Now()
			if err := client.call(b.Context(), http.MethodGet, "/devices?"+values.Encode(), nil, &page); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(begun))
			if first {
				devices, pages = devices+len(page.Devices), pages+1
			}
			values.Set("cursor", page.Next)
			more = page.Next != "" && !firstPage
		}
	}
	cpu = (cpuOf(b, pid) - cpu) / time.Duration(len(took))
	slices.Sort(took)
	name := strings.ReplaceAll(query, "&", ", ")
	if name == "" {
		name = "all"
	}
	if firstPage {
		name += ", the first page"
	}
	fmt.Printf("%-50s %9d %9d %9s %9s %9s\n", name, devices, pages, ms(took[len(took)/2]), ms(took[len(took)*99/100]), ms(cpu))
}
