package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompletionKnowsTheCommandLine(t *testing.T) {
	t.Setenv("LOGBRIDGE_URL", "http://127.0.0.1:1") // nobody is there to know names
	for _, c := range []struct{ words, want, not string }{
		{"", "serve,level,logs,doctor,completion", "__complete"},
		{"lev", "level", "logs"},
		{"level ", "set,ls,show,clear,base", "level"},
		{"level set --", "--for,--reason,--url", "--follow"},
		{"level set P/D --for 5m deb", "debug", "error"}, // the value of --for is no argument, so this is the level
		{"sls store set shop/web --", "--web-tracking,--origin,--limit", "--for"},
		{"logs -o ", "text,json", "table"},
		{"ledger --output ", "table,wide,json", ""},
		{"ledger --output = j", "json", "table"}, // as bash cuts --output=j
		{"logs --level ", "error,warn,debug", ""},
		{"logs -f --le", "--level", "--limit"},
		{"completion ", "bash,zsh,fish", ""},
		{"serve --config ", filesFollow, ""},
		{"nosuch ", "serve", ""}, // a word that is none stands for nothing
	} {
		words := strings.Split(c.words, " ")
		code, out, stderr := cli(t, append([]string{completeWord}, words...)...)
		var got []string
		for line := range strings.Lines(out) {
			value, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			got = append(got, value)
		}
		for _, want := range strings.Split(c.want, ",") {
			if want != "" && !slices.Contains(got, want) {
				t.Errorf("%q: %v has no %s (%d, %s)", c.words, got, want, code, stderr)
			}
		}
		if c.not != "" && slices.Contains(got, c.not) {
			t.Errorf("%q: %v has %s", c.words, got, c.not)
		}
	}
}

func TestCompletionAsksTheServerForNames(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	usual := nameWait
	nameWait = patience
	t.Cleanup(func() { nameWait = usual })
	t.Setenv("LOGBRIDGE_URL", s.url())
	t.Setenv("LOGBRIDGE_TOKEN_FILE", s.place.tokenFile())
	for words, want := range map[string]string{
		"product show ":                 "ABCDE12345\t\n",
		"device show AB":                "ABCDE12345/\t\n",
		"device show ABCDE12345/dev_01": "ABCDE12345/dev_01\t\n",
		"sls show ":                     "myproj\t\n",
		"cls show t":                    "topic-1\t\n",
		"logs -p ":                      "ABCDE12345\t\n",
	} {
		if code, out, stderr := cli(t, append([]string{completeWord}, strings.Split(words, " ")...)...); code != exitOK || out != want {
			t.Errorf("%q: %d, %q, want %q (%s)", words, code, out, want, stderr)
		}
	}
}

// TestCompletionInTheShells loads the scripts and asks as the shells do.
func TestCompletionInTheShells(t *testing.T) {
	dir := t.TempDir()
	home := &place{t: t, dir: dir}
	self := home.program("logbridge").Path
	// The shells find the test binary under the program's name.
	script := "#!/bin/sh\nexport " + asProgram + "=logbridge LOGBRIDGE_URL=http://127.0.0.1:1 GORACE=atexit_sleep_ms=0\nexec " + shellQuote(self) + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "logbridge"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for shell, ask := range map[string]string{
		"bash": `eval "$(logbridge completion bash)"; COMP_WORDS=(logbridge level s); COMP_CWORD=2; _logbridge; echo "${COMPREPLY[@]}"`,
		"zsh":  `eval "$(logbridge completion zsh)"; _describe() { print -r -- ${(P)4%%:*} }; words=(logbridge level s); CURRENT=3; _logbridge | tr '\n' ' '`,
		"fish": `logbridge completion fish | source; complete -C "logbridge level s" | cut -f1 | tr '\n' ' '`,
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("SKIPPED: %s is not installed; its completion is not tried", shell)
			}
			cmd := exec.CommandContext(t.Context(), path, "-c", ask)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "TERM=dumb")
			out, err := cmd.CombinedOutput()
			words := strings.Fields(string(out))
			slices.Sort(words)
			if err != nil || strings.Join(words, " ") != "set show" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}
