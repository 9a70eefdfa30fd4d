package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

type slsCmd struct {
	Ls    slsLsCmd    `cmd:"" help:"List SLS projects."`
	Show  slsShowCmd  `cmd:"" help:"Show an SLS project with its logstores and access keys."`
	Set   slsSetCmd   `cmd:"" help:"Create an SLS project, or change it."`
	Rm    slsRmCmd    `cmd:"" help:"Delete an SLS project that is empty."`
	Store slsStoreCmd `cmd:"" help:"Logstores of a project."`
	Key   slsKeyCmd   `cmd:"" help:"Access keys of a project."`
}

// projectState is an SLS project as the operator API shows it.
type projectState struct {
	Project string   `json:"project"`
	Hosts   []string `json:"hosts"`
}

type slsLsCmd struct {
	Client
	Output
}

func (c slsLsCmd) Run(p program) error {
	type answer struct{ Projects []projectState }
	return list(p, c.Client, c.Output, "/sls", func(a answer) []projectState { return a.Projects }, []column[projectState]{
		{name: "PROJECT", value: func(s projectState) string { return s.Project }},
		{name: "HOSTS", value: func(s projectState) string { return texts(s.Hosts) }},
	})
}

// projectArg names an SLS project on the command line.
type projectArg struct {
	Project string `arg:"" placeholder:"PROJECT" help:"The project's name."`
}

func (a projectArg) path(elements ...string) string {
	return escape(append([]string{"sls", a.Project}, elements...)...)
}

type slsShowCmd struct {
	Client
	Output
	projectArg
}

// Run shows the project, and as a table also what is in it. The JSON is the API's answer about the project.
func (c slsShowCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	return fetchAs(p, server, c.Output, http.MethodGet, c.path(), nil, func(a projectState) error {
		if err := writeFields(p.stdout, c.Output, field{"project", a.Project}, field{"hosts", texts(a.Hosts)}); err != nil {
			return err
		}
		var stores logstoreList
		var keys keyList
		if err := server.call(p.ctx, http.MethodGet, c.path("logstores"), nil, &stores); err != nil {
			return err
		}
		if err := server.call(p.ctx, http.MethodGet, c.path("access-keys"), nil, &keys); err != nil {
			return err
		}
		if err := tell(p, ""); err != nil {
			return err
		}
		if err := writeTable(p.stdout, c.Output, stores.Logstores, logstoreColumns()); err != nil {
			return err
		}
		if err := tell(p, ""); err != nil {
			return err
		}
		return writeTable(p.stdout, c.Output, keys.AccessKeys, keyColumns())
	})
}

type slsSetCmd struct {
	Client
	projectArg
	Host []string `sep:"none" placeholder:"HOST" help:"A Host value, without port, that means this project beside PROJECT.<anything>; may be given again, and replaces those that there were."`
}

func (c slsSetCmd) Run(p program) error {
	wish := members{}
	if c.Host != nil {
		wish["hosts"] = given(c.Host)
	}
	var after projectState
	return put(p, c.Client, c.path(), wish, &after, func() error {
		return tell(p, "project %s: hosts %s", after.Project, texts(after.Hosts))
	})
}

// given is a list of the command line, where one empty value says that there shall be none.
func given(list []string) []string {
	if len(list) == 1 && list[0] == "" {
		return []string{}
	}
	return list
}

type slsRmCmd struct {
	Client
	projectArg
}

func (c slsRmCmd) Run(p program) error { return remove(p, c.Client, c.path(), "project "+c.Project) }

type slsStoreCmd struct {
	Ls   logstoreLsCmd   `cmd:"" help:"List the logstores of a project."`
	Show logstoreShowCmd `cmd:"" help:"Show a logstore."`
	Set  logstoreSetCmd  `cmd:"" help:"Create a logstore, or change what is named of it."`
	Rm   logstoreRmCmd   `cmd:"" help:"Delete a logstore; its records stay."`
}

// logstoreState is a logstore as the operator API shows it.
type logstoreState struct {
	Logstore    string   `json:"logstore"`
	WebTracking bool     `json:"web_tracking"`
	Origins     []string `json:"origins"`
	webRules
}

type logstoreList struct {
	Logstores []logstoreState `json:"logstores"`
}

func logstoreColumns() []column[logstoreState] {
	return []column[logstoreState]{
		{name: "LOGSTORE", value: func(s logstoreState) string { return s.Logstore }},
		{name: "WRITES", value: func(s logstoreState) string { return writes(s.WebTracking) }},
		{name: "ORIGINS", value: func(s logstoreState) string { return origins(s.Origins) }},
	}
}

// writes says who may write to a web store.
func writes(anonymous bool) string {
	if anonymous {
		return "anonymous or signed"
	}
	return "signed"
}

// origins says from which pages.
func origins(list []string) string {
	if len(list) == 0 {
		return "*"
	}
	return strings.Join(list, " ")
}

type logstoreLsCmd struct {
	Client
	Output
	projectArg
}

func (c logstoreLsCmd) Run(p program) error {
	return list(p, c.Client, c.Output, c.path("logstores"), func(a logstoreList) []logstoreState { return a.Logstores }, logstoreColumns())
}

// pairArg is two names on the command line, as OWNER/NAME.
type pairArg struct{ owner, name string }

// UnmarshalText cuts at the first slash; no name has one.
func (a *pairArg) UnmarshalText(b []byte) error {
	var ok bool
	if a.owner, a.name, ok = strings.Cut(string(b), "/"); !ok || a.owner == "" || a.name == "" {
		return fmt.Errorf("write it as OWNER/NAME, not %q", b)
	}
	return nil
}

func (a pairArg) String() string { return a.owner + "/" + a.name }

// logstoreArg names a logstore on the command line.
type logstoreArg struct {
	Logstore pairArg `arg:"" placeholder:"PROJECT/LOGSTORE" help:"PROJECT/LOGSTORE."`
}

func (a logstoreArg) path() string {
	return escape("sls", a.Logstore.owner, "logstores", a.Logstore.name)
}

type logstoreShowCmd struct {
	Client
	Output
	logstoreArg
}

func (c logstoreShowCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, c.path(), func(a logstoreState) error {
		return writeFields(p.stdout, c.Output, append([]field{{"logstore", c.Logstore.String()}, {"writes", writes(a.WebTracking)}, {"origins", origins(a.Origins)}}, a.fields()...)...)
	})
}

type logstoreSetCmd struct {
	Client
	logstoreArg
	WebTracking *bool    `negatable:"" help:"Take anonymous writes of pages."`
	Origin      []string `sep:"none" placeholder:"ORIGIN" help:"An origin that pages may write from, as https://shop.example, or * for any; may be given again, and replaces those that there were."`
	webRulesArgs
}

func (c logstoreSetCmd) Run(p program) error {
	wish := members{}
	member(wish, "web_tracking", c.WebTracking)
	if c.Origin != nil {
		wish["origins"] = given(c.Origin)
	}
	var after logstoreState
	return c.put(p, c.Client, c.path(), wish, &after, func() error {
		return tell(p, "logstore %s: %s writes, origins %s", c.Logstore, writes(after.WebTracking), origins(after.Origins))
	})
}

type logstoreRmCmd struct {
	Client
	logstoreArg
}

func (c logstoreRmCmd) Run(p program) error {
	return remove(p, c.Client, c.path(), "logstore "+c.Logstore.String())
}

// put makes a change and says what there is afterwards.
func put(p program, c Client, path string, wish members, after any, say func() error) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	if err := server.call(p.ctx, http.MethodPut, path, wish, after); err != nil {
		return err
	}
	return say()
}

type stsCmd struct {
	Client
	logstoreArg
	For string `placeholder:"DURATION" help:"How long it is good, 12h at most (60m)."`
}

// Run prints the credentials as the vendor's AssumeRole does: what a backend hands to a page.
func (c stsCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	wish := members{"project": c.Logstore.owner, "logstore": c.Logstore.name}
	if c.For != "" {
		wish["for"] = c.For
	}
	var answer json.RawMessage
	if err := server.call(p.ctx, http.MethodPost, "/sts", wish, &answer); err != nil {
		return err
	}
	return tell(p, "%s", answer)
}
