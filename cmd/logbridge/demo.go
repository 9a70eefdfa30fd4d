package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/devicesim"
	"github.com/logbridge/logbridge/httpapi"
	"github.com/logbridge/logbridge/registry"
)

// The demo's world.
const (
	demoProduct  = "DEMO000001"
	demoDevices  = 12
	demoProject  = "demo"
	demoLogstore = "web"
	demoTopic    = "demo-topic"
	// demoRate keeps a device talkative enough to watch and slow enough to read.
	demoRate = 1
	// demoKeyLife is three times the interval at which the vendor's plugin gets new credentials.
	demoKeyLife = 15 * time.Minute
)

//go:embed demo
var demoFiles embed.FS

// demo is what serve --demo adds: a data folder of its own, things to log into, a fleet over real sockets and a page.
type demo struct {
	dir     string
	devices []devicesim.Credential
	out     io.Writer
}

// newDemo prepares the configuration. Everything secret is random and is gone with the folder.
func newDemo(cfg *Config, out io.Writer) (*demo, error) {
	dir, err := os.MkdirTemp("", "logbridge-demo-")
	if err != nil {
		return nil, err
	}
	d := &demo{dir: dir, out: out}
	cfg.Data = filepath.Join(dir, "data")
	cfg.AdminToken, cfg.AdminTokenFile = "", filepath.Join(dir, "admin-token")
	cfg.SealKey = filepath.Join(dir, "seal-key")
	cfg.HTTP, cfg.MQTT = freeAddress(cfg.HTTP), freeAddress(cfg.MQTT)
	cfg.Provision = d.provision()
	return d, nil
}

func (d *demo) provision() registry.Provision {
	level, yes := logbridge.LevelInfo, true
	product := registry.ProvisionProduct{ID: demoProduct, Level: &level}
	for i := range demoDevices {
		c := devicesim.Credential{ID: logbridge.DeviceID{Product: demoProduct, Device: fmt.Sprintf("dev-%02d", i+1)}, PSK: registry.MakePSK()}
		d.devices = append(d.devices, c)
		site := []string{"roof", "cellar", "garden"}[i%3]
		product.Devices = append(product.Devices, registry.ProvisionDevice{Name: c.ID.Device, PSK: c.PSK, Tags: map[string]string{"site": site}})
	}
	return registry.Provision{
		Products: []registry.ProvisionProduct{product},
		SLS: []registry.ProvisionProject{{
			Project: demoProject, Hosts: []string{"127.0.0.1", "localhost"},
			Logstores: []registry.ProvisionLogstore{{Name: demoLogstore, WebTracking: &yes, Origins: []string{"*"}}},
		}},
		CLS: []registry.ProvisionTopic{{Topic: demoTopic, AnonymousWrite: &yes, Origins: []string{"*"}}},
	}
}

// freeAddress gives the address back, or the same host with any port if another program has the port.
func freeAddress(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		_ = l.Close()
		return addr
	}
	host, _, _ := net.SplitHostPort(addr) // checked with the configuration
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.JoinHostPort(host, "0")
	}
	return addr
}

// remove deletes the folder.
func (d *demo) remove() { _ = os.RemoveAll(d.dir) }

// temporaryKeys issues the credentials of the demo's page.
type temporaryKeys interface {
	IssueTemporaryKey(ctx context.Context, project, logstore string, life time.Duration) (logbridge.TemporaryKey, error)
}

// page serves the demo page with a policy that lets it load and call nothing but this server, and beside it what is a backend's
// part: the page's credentials.
func (d *demo) page(keys temporaryKeys) http.Handler {
	files, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		panic(err) // the folder is embedded
	}
	serve := http.NewServeMux()
	serve.Handle("/demo/", http.StripPrefix("/demo", http.FileServerFS(files)))
	serve.HandleFunc("GET "+httpapi.DemoCredentials, func(w http.ResponseWriter, r *http.Request) { giveCredentials(w, r, keys) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if r.URL.Path == "/demo" {
			r.URL.Path = "/demo/"
		}
		serve.ServeHTTP(w, r)
	})
}

// giveCredentials is the backend of docs/web-sts.md: temporary credentials for the demo's logstore, in the vendor's form. A real
// one asks who the visitor is first. No page of another origin can read the answer, since it carries no CORS header.
func giveCredentials(w http.ResponseWriter, r *http.Request, keys temporaryKeys) {
	key, err := keys.IssueTemporaryKey(r.Context(), demoProject, demoLogstore, demoKeyLife)
	if err != nil {
		http.Error(w, "no credentials now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// An error of Encode is that the page is gone.
	_ = json.NewEncoder(w).Encode(map[string]string{
		"AccessKeyId": key.ID, "AccessKeySecret": key.Secret, "SecurityToken": key.Token,
		"Expiration": key.Expires.UTC().Format(time.RFC3339),
	})
}

// run lets the fleet log in and tells what to try.
func (d *demo) run(ctx context.Context, s *server) error {
	web := "http://" + s.http.Addr().String()
	fleet, err := devicesim.New(devicesim.Config{
		Broker: s.broker.Addr().String(), HTTP: web, Devices: d.devices,
		LineRate: demoRate, UploadEvery: time.Second,
	}, s.log)
	if err != nil {
		return err
	}
	if err := d.tell(web, "http://"+s.http.AdminAddr().String(), s.broker.Addr().String()); err != nil {
		return err
	}
	return fleet.Run(ctx)
}

// tell prints the commands to try next, ready to be pasted into another shell.
func (d *demo) tell(web, admin, mqtt string) error {
	me := shellQuote(os.Args[0])
	_, err := fmt.Fprintf(d.out, `
%[1]d simulated devices are logging. In another shell, in this folder:

  export LOGBRIDGE_URL=%[2]s LOGBRIDGE_MQTT=%[3]s LOGBRIDGE_TOKEN_FILE=%[4]s

  # watch them
  %[5]s logs -f --since 10s
  # raise one to debug and see its debug lines arrive
  %[5]s level set %[6]s/dev-01 debug --for 5m --reason demo
  %[5]s logs -f -p %[6]s -d dev-01 --since 10s
  %[5]s level ls
  # what became of every line
  %[5]s ledger
  # be a device yourself, with the stock MQTT tools
  %[5]s device add %[6]s/my-own
  %[5]s device login %[6]s/my-own
  # send a web event, and read it
  curl -i '%[7]s/logstores/%[8]s/track?APIVersion=0.6.0&event=hello'
  curl -i '%[7]s/track?topic_id=%[9]s&event=hello'
  %[5]s logs --source sls
  # a larger fleet, with round-trip times
  %[5]s sim --devices 1000 --duration 60s

The console is %[2]s/, to sign in with the token: cat %[4]s
The demo page sends such events from a browser: %[7]s/demo
Everything is in %[10]s and is deleted at the end. Ctrl-C ends the demo.

`, len(d.devices), admin, mqtt, shellQuote(filepath.Join(d.dir, "admin-token")), me, demoProduct, web, demoLogstore, demoTopic, shellQuote(d.dir))
	return err
}
