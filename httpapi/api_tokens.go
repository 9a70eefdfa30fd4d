package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// tokenView is a token as the API shows it: never the token itself, but for the answer that made it.
type tokenView struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	Scope     []string   `json:"scope" doc:"the streams, or beginnings of streams, that it is limited to; empty is everything"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Token     string     `json:"token,omitempty" doc:"only in the answer to its creation; never shown again"`
}

type tokenList struct {
	Tokens []tokenView `json:"tokens"`
}

type postToken struct {
	Body struct {
		Name    string     `json:"name" minLength:"1" maxLength:"100"`
		Role    string     `json:"role" enum:"viewer,operator,admin,ingest"`
		Scope   []string   `json:"scope,omitempty" maxItems:"64" doc:"device/<product>, sls/<project>, sls/<project>/<logstore>, cls/<topic>, otlp/<namespace>, otlp/<namespace>/<service>, or another stream or beginning of streams up to a slash; without it the token is good for everything"`
		For     string     `json:"for,omitempty" doc:"a duration, also in days; without it and expires the token does not end" example:"90d"`
		Expires *time.Time `json:"expires,omitempty" doc:"when it ends, in place of for"`
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
	return tokenView{ID: t.ID, Name: t.Name, Role: string(t.Role), Scope: list(t.Scope), CreatedAt: at(t.Created), ExpiresAt: at(t.Expires)}
}

// maxDays keeps a number of days within what a duration can say.
const maxDays = 100_000

// lifeOf reads the member "for" of a body, which is a duration above zero, also in whole days (90d); zero if there is none.
func lifeOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if days, err := strconv.Atoi(number); err == nil && days > 0 && days <= maxDays {
			return time.Duration(days) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%w: for %q is not a duration above zero", logbridge.ErrInvalid, clip(text))
	}
	return d, nil
}

// createToken makes a token that may do no more than the one that asks: only administrators of everything come here, so that
// it ends no later is all that is left to say.
func (a *api) createToken(ctx context.Context, in *postToken) (*answer[tokenView], error) {
	life, err := lifeOf(in.Body.For)
	if err != nil {
		return nil, err
	}
	var expires time.Time
	switch {
	case life > 0 && in.Body.Expires != nil:
		return nil, fmt.Errorf("%w: give for or expires, not both", logbridge.ErrInvalid)
	case life > 0:
		expires = time.Now().Add(life)
	case in.Body.Expires != nil:
		expires = *in.Body.Expires
	}
	if end := callerOf(ctx).Expires; !end.IsZero() && (expires.IsZero() || expires.After(end)) {
		return nil, fmt.Errorf("%w: a token cannot make one that ends after itself, at %s; give it a time", logbridge.ErrForbidden, end.UTC().Format(time.RFC3339))
	}
	t, plain, err := a.deps.Tokens.CreateToken(ctx, in.Body.Name, logbridge.Role(in.Body.Role), expires, in.Body.Scope...)
	if err != nil {
		return nil, err
	}
	view := viewToken(t)
	changedThing(ctx, "tokens/"+t.ID, nil, view)
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
	var before any
	for _, t := range a.deps.Tokens.Tokens() {
		if t.ID == in.ID {
			before = viewToken(t)
		}
	}
	return deleted(ctx, before, a.deps.Tokens.DeleteToken(ctx, in.ID))
}
