package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTokenCommands makes a limited token on the command line, uses it, and takes it away.
func TestTokenCommands(t *testing.T) {
	s := newPlace(t, "").start("127.0.0.1:0", "127.0.0.1:0")
	made := s.run("token", "add", "line 7", "--role", "viewer", "--scope", "device/ABCDE12345", "--scope", "cls/topic-1", "--for", "90d", "-o", "json")
	var token tokenState
	if err := json.Unmarshal([]byte(made), &token); err != nil || token.Expires.Sub(token.Created).Hours() < 89*24 {
		t.Fatalf("%s: %v", made, err)
	}
	if list := s.run("token", "ls"); !strings.Contains(list, token.ID) || !strings.Contains(list, "cls/topic-1 device/ABCDE12345") || strings.Contains(list, token.Token) {
		t.Errorf("%s", list)
	}
	var listed struct{ Tokens []tokenState }
	if list := s.run("token", "ls", "-o", "json"); json.Unmarshal([]byte(list), &listed) != nil || len(listed.Tokens) != 1 || listed.Tokens[0].ID != token.ID {
		t.Errorf("%s", list)
	}
	if list := s.run("token", "ls", "-o", "wide"); !strings.Contains(list, token.Expires.Local().Format(time.DateTime)) {
		t.Errorf("%s", list)
	}
	limited := &api{base: s.operator().base, token: token.Token, http: &http.Client{}}
	var products struct{ Products []struct{ ID string } }
	if err := limited.call(t.Context(), http.MethodGet, "/products", nil, &products); err != nil {
		t.Error(err)
	}
	if out := s.run("token", "revoke", token.ID); !strings.Contains(out, token.ID) {
		t.Errorf("%s", out)
	}
	var p *problem
	if err := limited.call(t.Context(), http.MethodGet, "/products", nil, &products); !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
		t.Error(err)
	}
	if plain := s.run("token", "add", "whole", "--role", "ingest"); !strings.HasPrefix(plain, "lb_") || strings.Count(plain, "\n") != 1 {
		t.Errorf("%q", plain)
	}
	if list := s.run("token", "ls"); !strings.Contains(list, "everything") || !strings.Contains(list, "never") || strings.Contains(list, "line 7") {
		t.Errorf("%s", list)
	}
}
