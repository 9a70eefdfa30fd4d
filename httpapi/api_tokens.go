package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/logbridge/logbridge"
)

type tokenView struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Token     string     `json:"token,omitempty" doc:"only in the answer to its creation; never shown again"`
}

type tokenList struct {
	Tokens []tokenView `json:"tokens"`
}

type postToken struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100"`
		Role string `json:"role" enum:"viewer,operator,admin,ingest"`
		For  string `json:"for,omitempty" doc:"a duration; without it the token does not end" example:"720h"`
	}
}

type tokenPath struct {
	ID string `path:"id"`
}

func (a *api) tokens() {
	call(a, logbridge.RoleAdmin, http.MethodPost, "/tokens", "create-token", "Create a token", a.createToken)
	call(a, logbridge.RoleAdmin, http.MethodGet, "/tokens", "list-tokens", "List tokens", a.listTokens)
	call(a, logbridge.RoleAdmin, http.MethodDelete, "/tokens/{id}", "delete-token", "Revoke a token", a.deleteToken)
}

func viewToken(t logbridge.Token) tokenView {
	return tokenView{ID: t.ID, Name: t.Name, Role: string(t.Role), CreatedAt: at(t.Created), ExpiresAt: at(t.Expires)}
}

// lifeOf reads the member "for" of a body, which is a duration above zero; zero if there is none.
func lifeOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%w: for %q is not a duration above zero", logbridge.ErrInvalid, clip(text))
	}
	return d, nil
}

func (a *api) createToken(ctx context.Context, in *postToken) (*answer[tokenView], error) {
	var expires time.Time
	life, err := lifeOf(in.Body.For)
	if err != nil {
		return nil, err
	}
	if life > 0 {
		expires = time.Now().Add(life)
	}
	t, plain, err := a.deps.Tokens.CreateToken(ctx, in.Body.Name, logbridge.Role(in.Body.Role), expires)
	if err != nil {
		return nil, err
	}
	view := viewToken(t)
	view.Token = plain
	return &answer[tokenView]{view}, nil
}

func (a *api) listTokens(context.Context, *none) (*answer[tokenList], error) {
	list := tokenList{Tokens: []tokenView{}}
	for _, t := range a.deps.Tokens.Tokens() {
		list.Tokens = append(list.Tokens, viewToken(t))
	}
	return &answer[tokenList]{list}, nil
}

func (a *api) deleteToken(ctx context.Context, in *tokenPath) (*none, error) {
	return nil, a.deps.Tokens.DeleteToken(ctx, in.ID)
}
