package main

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Completion goes by the model of the command line itself, so it knows every command and flag as soon as it is there. The
// libraries that do this for kong stand on others that nobody keeps any more; what is needed of them is this file. A shell calls
// this program with completeWord and the words so far, of which the last is the one to complete.

//go:embed completion.bash
var bashCompletion string

//go:embed completion.zsh
var zshCompletion string

//go:embed completion.fish
var fishCompletion string

// completeWord is the hidden first argument of a question. It is no command, so that it needs no flags of its own.
const completeWord = "__complete"

// filesFollow is what a shell is told in place of values when it should complete the name of a file.
const filesFollow = ":files"

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is what --help says beyond the flags.
func (completionCmd) Help() string {
	return `bash: put  eval "$(logbridge completion bash)"  into ~/.bashrc.
zsh:  put  eval "$(logbridge completion zsh)"  into ~/.zshrc, behind compinit.
fish: logbridge completion fish > ~/.config/fish/completions/logbridge.fish

Names of products, devices and stores come from the server of LOGBRIDGE_URL, with the token of LOGBRIDGE_TOKEN or LOGBRIDGE_TOKEN_FILE.`
}

func (c completionCmd) Run(p program) error {
	_, err := fmt.Fprint(p.stdout, map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell])
	return err
}

// candidate is one way to go on.
type candidate struct{ value, about string }

// complete answers a shell's question, a line for each candidate: the value, a tab, what it is.
func complete(p program, app *kong.Application, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	found, files := candidates(app.Node, words, names{p.ctx}.of)
	if files {
		return tell(p, filesFollow)
	}
	for _, c := range found {
		if err := tell(p, "%s\t%s", c.value, strings.ReplaceAll(c.about, "\n", " ")); err != nil {
			return err
		}
	}
	return nil
}

// cursor is where in the command line a word is.
type cursor struct {
	node  *kong.Node
	value *kong.Flag // whose value comes next, nil if none
	place int        // how many positional arguments there were
}

// candidates are the ways to complete the last word. names gives those that a server knows; files says that a file comes next.
func candidates(app *kong.Node, words []string, names func(kind, begin string) []candidate) (found []candidate, files bool) {
	at := cursor{node: app}
	for _, w := range words[:len(words)-1] {
		at.step(w)
	}
	begin := words[len(words)-1]
	if begin == "=" { // bash cuts --flag=value into three words
		begin = ""
	}
	switch {
	case at.value != nil:
		found, files = valuesOf(at.value.Value, at.value.PlaceHolder, begin, names)
	case strings.HasPrefix(begin, "-"):
		found = flagsOf(at.node)
	case len(at.node.Children) > 0:
		for _, c := range at.node.Children {
			if !c.Hidden {
				found = append(found, candidate{c.Name, c.Help})
			}
		}
	case at.place < len(at.node.Positional):
		v := at.node.Positional[at.place]
		found, files = valuesOf(v, v.Tag.PlaceHolder, begin, names)
	}
	return slices.DeleteFunc(found, func(c candidate) bool { return !strings.HasPrefix(c.value, begin) }), files
}

// step takes a word that is complete.
func (c *cursor) step(w string) {
	switch {
	case w == "=" && c.value != nil:
	case c.value != nil:
		c.value = nil
	case strings.HasPrefix(w, "-") && len(w) > 1:
		name, _, with := strings.Cut(strings.TrimLeft(w, "-"), "=")
		for _, f := range c.node.AllFlags(false) {
			for _, flag := range f {
				if (flag.Name == name || flag.Short != 0 && string(flag.Short) == name) && !with && !flag.IsBool() && !flag.IsCounter() {
					c.value = flag
				}
			}
		}
	default:
		for _, child := range c.node.Children {
			if child.Name == w || slices.Contains(child.Aliases, w) {
				c.node = child
				return
			}
		}
		c.place++
	}
}

// flagsOf are the flags that may come here.
func flagsOf(n *kong.Node) (found []candidate) {
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			found = append(found, candidate{"--" + f.Name, f.Help})
		}
	}
	return found
}

// valuesOf are the values of a flag or an argument: those of its enumeration, or names by what its placeholder says.
func valuesOf(v *kong.Value, placeholder, begin string, names func(kind, begin string) []candidate) (found []candidate, files bool) {
	if v.Enum != "" {
		for _, one := range v.EnumSlice() {
			if one != "" {
				found = append(found, candidate{one, ""})
			}
		}
		return found, false
	}
	switch placeholder {
	case "FILE", "DIR":
		return nil, true
	case "LEVEL":
		for _, l := range []string{"off", "error", "warn", "info", "debug"} {
			found = append(found, candidate{l, ""})
		}
		return found, false
	}
	return names(placeholder, begin), false
}

// nameWait is how long someone who pressed a key waits for names of the server.
var nameWait = 700 * time.Millisecond

// mostNames is how many are offered: more cannot be read.
const mostNames = "100"

// names asks the server for names. Whatever goes wrong, there are none: a shell has no place for an error here.
type names struct{ ctx context.Context }

func (n names) of(kind, begin string) []candidate {
	var got struct {
		Products []struct{ ID string }
		Devices  []struct{ Product, Device string }
		Projects []struct{ Project string }
		Topics   []struct{ Topic string }
	}
	var path string
	switch kind {
	case "PRODUCT":
		path = "/products"
	case "PRODUCT/DEVICE", "TARGET":
		product, device, _ := strings.Cut(begin, "/")
		path = "/products"
		if strings.Contains(begin, "/") {
			path = "/devices?" + url.Values{"product": {product}, "q": {device}, "limit": {mostNames}}.Encode()
		}
	case "PROJECT":
		path = "/sls"
	case "TOPIC":
		path = "/cls"
	default:
		return nil
	}
	client := Client{URL: os.Getenv("LOGBRIDGE_URL"), Token: os.Getenv("LOGBRIDGE_TOKEN"), TokenFile: os.Getenv("LOGBRIDGE_TOKEN_FILE")}
	if client.URL == "" {
		client.URL = "http://127.0.0.1:8080"
	}
	server, err := client.open()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, nameWait)
	defer cancel()
	if server.call(ctx, http.MethodGet, path, nil, &got) != nil {
		return nil
	}
	var found []candidate
	add := func(name string) { found = append(found, candidate{name, ""}) }
	for _, p := range got.Products {
		if kind != "PRODUCT" && kind != "TARGET" {
			p.ID += "/" // a device follows
		}
		add(p.ID)
	}
	for _, d := range got.Devices {
		add(d.Product + "/" + d.Device)
	}
	for _, p := range got.Projects {
		add(p.Project)
	}
	for _, t := range got.Topics {
		add(t.Topic)
	}
	return found
}
