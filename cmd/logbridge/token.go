package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type tokenCmd struct {
	Add    tokenAddCmd    `cmd:"" help:"Make a token and print it, this once."`
	Ls     tokenLsCmd     `cmd:"" help:"List tokens, not what they are."`
	Whoami tokenWhoamiCmd `cmd:"" help:"Say whose the token is that is used, what it may do and where."`
	Revoke tokenRevokeCmd `cmd:"" help:"Take a token away, at once and on every node."`
}

// tokenState is a token as the API shows it.
type tokenState struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Scope   []string  `json:"scope"`
	Created time.Time `json:"created_at,omitzero"`
	Expires time.Time `json:"expires_at,omitzero"`
	Token   string    `json:"token,omitempty"`
}

type tokenAddCmd struct {
	Client
	Name   string   `arg:"" help:"Whose it is: the name stands in the audit stream beside what it does."`
	Role   string   `required:"" enum:"viewer,operator,admin,ingest" placeholder:"ROLE" help:"viewer reads, operator changes levels and stores too, admin everything; ingest writes logs of services and nothing else."`
	Scope  []string `placeholder:"STREAM" help:"What it is limited to: device/PRODUCT, sls/PROJECT, sls/PROJECT/LOGSTORE, cls/TOPIC, otlp/NAMESPACE or otlp/NAMESPACE/SERVICE; may be given again (everything)."`
	For    string   `placeholder:"AGE" help:"How long it is good, such as 90d or 12h (without end)."`
	Output string   `short:"o" enum:"text,json" default:"text" placeholder:"FORM" help:"text, the token alone, or json (${default})."`
}

func (c tokenAddCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	in := struct {
		Name  string   `json:"name"`
		Role  string   `json:"role"`
		Scope []string `json:"scope,omitempty"`
		For   string   `json:"for,omitempty"`
	}{c.Name, c.Role, c.Scope, c.For}
	var made tokenState
	if err := server.call(p.ctx, http.MethodPost, "/tokens", in, &made); err != nil {
		return err
	}
	if c.Output == "json" {
		return json.NewEncoder(p.stdout).Encode(made)
	}
	// The id is for people, the token may go into a file.
	_, _ = fmt.Fprintf(p.stderr, "token %s (%s) is made; it is not shown again\n", made.ID, made.Name)
	_, err = fmt.Fprintln(p.stdout, made.Token)
	return err
}

type tokenLsCmd struct {
	Client
	Output
}

func (c tokenLsCmd) Run(p program) error {
	type answer struct {
		Tokens []tokenState `json:"tokens"`
	}
	text := func(name string, value func(tokenState) string) column[tokenState] {
		return column[tokenState]{name: name, value: value}
	}
	return list(p, c.Client, c.Output, "/tokens", func(a answer) []tokenState { return a.Tokens }, []column[tokenState]{
		text("ID", func(t tokenState) string { return t.ID }),
		text("NAME", func(t tokenState) string { return t.Name }),
		text("ROLE", func(t tokenState) string { return t.Role }),
		text("SCOPE", func(t tokenState) string { return scopeText(t.Scope) }),
		text("CREATED", func(t tokenState) string { return seen(&t.Created) }),
		text("EXPIRES", func(t tokenState) string { return endText(t.Expires) }),
	})
}

func scopeText(scope []string) string {
	if len(scope) == 0 {
		return "everything"
	}
	return strings.Join(scope, " ")
}

func endText(end time.Time) string {
	switch {
	case end.IsZero():
		return "never"
	case end.Before(time.Now()):
		return "ended " + seen(&end)
	}
	return seen(&end)
}

type tokenRevokeCmd struct {
	Client
	ID string `arg:"" help:"As token ls shows it."`
}

func (c tokenRevokeCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	if err := server.call(p.ctx, http.MethodDelete, "/tokens"+escape(c.ID), nil, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "token %s is revoked\n", c.ID)
	return err
}
