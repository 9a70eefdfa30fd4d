package main

import (
	"context"
	"encoding"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/logbridge/logbridge"
)

// parseServe runs the command line of serve up to the finished configuration.
func parseServe(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var cmds commands
	parser, err := kong.New(&cmds, kong.Exit(func(int) { t.Fatal("the parser wants to exit") }), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := parser.Parse(append([]string{"serve"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	err = cmds.Serve.finish(ctx)
	return cmds.Serve.Config, err
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := writeFile(t, "c.yaml", "data: from-file\nhttp: 127.0.0.1:1\nmqtt: 127.0.0.1:2\nadmin: 127.0.0.1:3\ndemo: true\n")
	t.Setenv("LOGBRIDGE_CONFIG", file)
	t.Setenv("LOGBRIDGE_HTTP", "127.0.0.1:10")
	t.Setenv("LOGBRIDGE_MQTT", "127.0.0.1:20")
	t.Setenv("LOGBRIDGE_DEMO", "false")
	c, err := parseServe(t, "--mqtt", "127.0.0.1:200")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.MQTT, c.HTTP, c.Admin, c.Data, c.Demo, c.MQTTS}
	want := []any{"127.0.0.1:200", "127.0.0.1:10", "127.0.0.1:3", "from-file", false, ""}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAllFaultsComeTogether(t *testing.T) {
	file := writeFile(t, "c.yaml", "http: nonsense\nmqtts: 127.0.0.1:1\n\nunknown_key: 1\nnats: nats://x\n")
	_, err := parseServe(t, "--config", file, "--mqtt", "127.0.0.1:99999", "--admin-token", "short", "--admin-token-file", "x",
		"--upstream-mqtt", "mqtt://user:hidden@y/path", "--https", "127.0.0.1:2", "--tls-client-ca", "z", "--seal-key", "data/key")
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{"unknown_key", "[4:1]", "--http: write an address", "--mqtt: use a port", "--admin-token and", "at least 16",
		"--upstream-mqtt", "--https: give its certificate", "--nats", "--mqtts: give its certificate", "--seal-key: keep it outside"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("a password is in:\n%v", err)
	}
}

func TestFaultsOfNATS(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string // none: no fault
	}{
		{"--nats nats://a:4222,nats://b:4222,nats://c:4222 --nats-sync-always", nil},
		{"--nats tls://a --nats-sync-always --nats-replicas 1 --nats-user u --nats-password top-secret --nats-cert c --nats-key k --nats-ca a", nil},
		{"--nats nats://a", []string{"--nats: say --nats-sync-always", "sync_interval: always", "a power cut loses records"}},
		{"--nats nats://u:top-secret@a:b --nats-sync-always", []string{"--nats: ", "address 1"}},
		{"--nats nats://a --nats-sync-always --nats-log-age 1s --nats-log-bytes 1", []string{"--nats-log-age: use at least 1m0s", "--nats-log-bytes: use at least 268435456"}},
		{"--nats nats://a --nats-sync-always --nats-replicas 2", []string{"--nats-replicas: use 1, 3 or 5"}},
		{"--nats nats://a --nats-sync-always --nats-password top-secret --nats-nkey f --nats-cert c --demo",
			[]string{"give one of them", "--nats-user and --nats-password", "--nats-cert and --nats-key", "the demo runs on its own"}},
		{"--nats-sync-always", []string{"nothing uses these without --nats"}},
		{"--nats-credentials f", []string{"nothing uses these without --nats"}},
	} {
		_, err := parseServe(t, strings.Fields(tt.args)...)
		if len(tt.want) == 0 && err != nil {
			t.Errorf("%s: %v", tt.args, err)
		}
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "top-secret") {
				t.Errorf("%s: %q is missing, or a secret is there, in:\n%v", tt.args, want, err)
			}
		}
	}
}

func TestConfigurationFaultsEndWithTheUsageCode(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown flag":    {"serve", "--nonsense"},
		"unknown command": {"nonsense"},
		"bad setting":     {"serve", "--nats", "nats://x"},
		"missing file":    {"serve", "--config", filepath.Join(t.TempDir(), "none.yaml")},
		"bad level":       {"level", "set", "ABCDE12345/dev_01", "loud"},
		"bad device":      {"level", "set", "ABCDE12345/", "debug"},
		"bad time":        {"logs", "--since", "yesterday"},
		"no records":      {"logs", "-n", "0"},
		"end of -f":       {"logs", "-f", "--until", "2026-11-21T10:00:00Z"},
		"base with end":   {"level", "set", "ABCDE12345", "warn", "--for", "5m"},
		"bad url":         {"device", "ls", "--url", "nonsense"},
		"two targets":     {"level", "set", "--glob", "dev*", "ABCDE12345", "debug"},
		"bad rule level":  {"level", "set", "--glob", "dev*", "loud"},
		"bad selector":    {"level", "set", "--percent", "101", "debug"},
		"no level":        {"level", "set", "ABCDE12345/dev_01"},
		"pattern":         {"level", "set", "ABCDE12345/dev*", "debug"},
		"no rule":         {"level", "show", "ABCDE12345/dev_01"},
		"dry run of one":  {"level", "set", "ABCDE12345/dev_01", "debug", "--dry-run"},
		"nothing to do":   {"level", "extend", "abc"},
		"bad target":      {"level", "clear", "ABCDE12345/"},
		"too many":        {"sim", "--devices", "1000000"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr strings.Builder
			code := execute(program{context.Background(), io.Discard, &stderr}, args)
			if code != exitUsage || !strings.HasPrefix(stderr.String(), "logbridge: ") || strings.Contains(stderr.String(), "no token") {
				t.Errorf("exit code %d, %q", code, stderr.String())
			}
		})
	}
}

// TestUsageErrorsSayWhatToDo where another command is meant.
func TestUsageErrorsSayWhatToDo(t *testing.T) {
	for want, args := range map[string][]string{
		"level set --product ABCDE12345 --glob 'dev*' debug": {"level", "set", "ABCDE12345/dev*", "debug"},
		"device show ABCDE12345/dev_01":                      {"level", "show", "ABCDE12345/dev_01"},
	} {
		var stderr strings.Builder
		execute(program{context.Background(), io.Discard, &stderr}, args)
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q says %q, want %q in it", args, stderr.String(), want)
		}
	}
}

func TestDemoStaysOnLoopback(t *testing.T) {
	if _, err := parseServe(t, "--demo", "--http", "0.0.0.0:0"); err == nil || !strings.Contains(err.Error(), "loopback only") {
		t.Errorf("demo on every address: %v", err)
	}
	if _, err := parseServe(t, "--demo", "--http", "[::1]:0", "--mqtt", "localhost:0"); err != nil {
		t.Error(err)
	}
}

// TestNamesAreOne checks that each setting has one name in three spellings.
func TestNamesAreOne(t *testing.T) {
	parser, err := kong.New(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for field := range reflect.TypeFor[Config]().Fields() {
		keys[field.Tag.Get("yaml")] = true
	}
	for _, flag := range parser.Model.Node.Children[0].Flags {
		if env := "LOGBRIDGE_" + strings.ToUpper(yamlKey(flag.Name)); len(flag.Envs) != 1 || flag.Envs[0] != env {
			t.Errorf("--%s: environment %v, want %s", flag.Name, flag.Envs, env)
		}
		if flag.Name != "config" && !keys[yamlKey(flag.Name)] {
			t.Errorf("--%s has no key %s", flag.Name, yamlKey(flag.Name))
		}
	}
}

const exampleConfig = "../../deployments/logbridge.yaml"

func TestExampleConfigurationIsTheDefault(t *testing.T) {
	def, err := parseServe(t)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseServe(t, "--config", exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	if c.Admin != "127.0.0.1:8081" {
		t.Errorf("admin is %q: the example keeps operators apart", c.Admin)
	}
	c.ConfigFile, c.Admin = "", ""
	if !reflect.DeepEqual(c, def) {
		t.Errorf("the example gives\n%+v, the default is\n%+v", c, def)
	}
}

func TestExampleConfigurationHasEveryKey(t *testing.T) {
	text, err := os.ReadFile(exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	// "#key" and what is indented below it is a setting that is off, "# text" an explanation.
	all := regexp.MustCompile(`(?m)^#(\S|  )`).ReplaceAllString(string(text), "$1")
	c, present, err := readConfig(writeFile(t, "all.yaml", all))
	if err != nil {
		t.Fatal(err)
	}
	var check func(at string, typ reflect.Type, node any)
	check = func(at string, typ reflect.Type, node any) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			if list, ok := node.([]any); ok && len(list) > 0 {
				node = list[0]
			}
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || reflect.PointerTo(typ).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return
		}
		values, _ := node.(map[string]any)
		for field := range typ.Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if key == "-" {
				continue
			}
			if field.Anonymous { // its keys stand among the others
				check(at, field.Type, node)
				continue
			}
			value, ok := values[key]
			if !ok {
				t.Errorf("%s%s is not in the example", at, key)
			}
			check(at+key+".", field.Type, value)
		}
	}
	check("", reflect.TypeFor[Config](), present)
	if p := c.Provision.Products; len(p) != 1 || p[0].Level == nil || *p[0].Level != logbridge.LevelError || p[0].Devices[0].PSK == "" {
		t.Errorf("the example's products are read as %+v", p)
	}
}

// TestRetentionAge: days are durations too, in every place where a setting can stand.
func TestRetentionAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 30 * 24 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "0": 0, "0d": 0} {
		c, err := parseServe(t, "--retention-age", text)
		if err != nil || time.Duration(c.RetentionAge) != want {
			t.Errorf("flag %s: %s, %v", text, time.Duration(c.RetentionAge), err)
		}
		c, err = parseServe(t, "--config", writeFile(t, "c.yaml", "retention_age: "+text+"\nretention_bytes: 5000000000\n"))
		if err != nil || time.Duration(c.RetentionAge) != want || c.RetentionBytes != 5_000_000_000 {
			t.Errorf("file %s: %s, %d, %v", text, time.Duration(c.RetentionAge), c.RetentionBytes, err)
		}
	}
	if c, err := parseServe(t); err != nil || time.Duration(c.RetentionAuditAge) != 400*24*time.Hour {
		t.Errorf("the audit is kept for %s, %v", time.Duration(c.RetentionAuditAge), err)
	}
	for _, text := range []string{"", "d", "-1d", "30 d", "1w", "99999999999d", "1.5d"} {
		if err := new(age).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, args := range [][]string{{"--retention-age", "59m"}, {"--retention-age=-2h"}, {"--retention-audit-age", "59m"}, {"--retention-bytes", "1000"}, {"--retention-bytes=-1"}} {
		if _, err := parseServe(t, args...); err == nil || !strings.Contains(err.Error(), "--retention-") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestLevelTimes(t *testing.T) {
	c, err := parseServe(t, "--level-cap", "2d", "--level-default", "90m")
	if err != nil || time.Duration(c.LevelCap) != 48*time.Hour || time.Duration(c.LevelDefault) != 90*time.Minute {
		t.Errorf("%s, %s, %v", time.Duration(c.LevelCap), time.Duration(c.LevelDefault), err)
	}
	for _, args := range [][]string{{"--level-cap", "1ms"}, {"--level-default", "1ms"}, {"--level-default", "25h"}, {"--level-cap", "1h", "--level-default", "61m"}} {
		if _, err := parseServe(t, args...); err == nil || !strings.Contains(err.Error(), "--level-") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
