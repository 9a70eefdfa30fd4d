package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Client says how to reach the operator API. It is part of every command that does.
type Client struct {
	URL       string `name:"url" env:"LOGBRIDGE_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server (${default})."`
	Token     string `env:"LOGBRIDGE_TOKEN" placeholder:"TOKEN" help:"Bearer token; better in the environment than on a command line."`
	TokenFile string `env:"LOGBRIDGE_TOKEN_FILE" placeholder:"FILE" help:"File that holds it (./data/admin-token, if it can be read)."`
}

// usualTokenFile is where serve puts the administrator's token when it runs with its defaults in the same folder.
const usualTokenFile = "data/admin-token"

// callTimeout bounds a call that is no stream.
const callTimeout = 30 * time.Second

// mostAnswer bounds an answer that is read whole; the largest is the ledger of 100 000 streams.
const mostAnswer = 64 << 20

// api is a connection to the operator API.
type api struct {
	base, token string
	http        *http.Client
}

// host is the server's host name or address.
func (a *api) host() (string, error) {
	u, err := url.Parse(a.base)
	if err != nil {
		return "", err
	}
	return u.Hostname(), nil
}

// AfterApply is called by the parser: a token file on the command line beats a token in the environment, as every flag
// beats the environment.
func (c *Client) AfterApply(ctx *kong.Context) error {
	given := func(name string) bool {
		return slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Name == name })
	}
	if given("token-file") && !given("token") {
		c.Token = ""
	}
	return nil
}

func (c Client) open() (*api, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usageError{fmt.Errorf("--url (LOGBRIDGE_URL): %q is no http or https address", c.URL)}
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	return &api{base: strings.TrimSuffix(c.URL, "/") + "/api/v1", token: token, http: &http.Client{}}, nil
}

func (c Client) token() (string, error) {
	if c.Token != "" {
		return c.Token, nil
	}
	file := c.TokenFile
	if file == "" {
		file = usualTokenFile
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && c.TokenFile == "" {
		return "", usageError{errors.New("no token: set LOGBRIDGE_TOKEN, or name its file with --token-file (serve prints the path)")}
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// problem is an error answer (application/problem+json).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = http.StatusText(p.Status)
	}
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	return text
}

// call sends in as JSON, if there is something to send, and decodes the answer into out, if it is wanted.
func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	res, err := a.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer := io.LimitReader(res.Body, mostAnswer)
	if out == nil {
		_, err = io.Copy(io.Discard, answer) // so that the connection serves the next call
		return err
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

// send makes a request and turns an answer that is not a success into its error. The caller closes the body.
func (a *api) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	p := problem{}
	// A proxy on the way may answer with something else than JSON; the status is enough then.
	_ = json.NewDecoder(io.LimitReader(res.Body, mostAnswer)).Decode(&p)
	p.Status = res.StatusCode
	return nil, &p
}

// notFound reports whether err is the server's answer that the thing does not exist.
func notFound(err error) bool {
	var p *problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// malformed reports whether err is the server's answer that what was asked for is wrong in itself.
func malformed(err error) bool {
	var p *problem
	return errors.As(err, &p) && (p.Status == http.StatusBadRequest || p.Status == http.StatusUnprocessableEntity)
}

// escape joins path elements, each escaped.
func escape(elements ...string) string {
	var b strings.Builder
	for _, e := range elements {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(e))
	}
	return b.String()
}
