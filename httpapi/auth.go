package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/logbridge/logbridge"
)

// challenge is sent with every 401 of the operator API.
const challenge = `Bearer realm="logbridge"`

// roleRank orders the roles of people: each may do what those before it may. A token of another role, ingest among them,
// has rank 0 and may call nothing here.
var roleRank = map[logbridge.Role]int{logbridge.RoleViewer: 1, logbridge.RoleOperator: 2, logbridge.RoleAdmin: 3}

// authenticate finds who is asking.
func (s *Server) authenticate(authorization string) (logbridge.Token, *problem) {
	scheme, plain, _ := strings.Cut(authorization, " ")
	plain = strings.TrimSpace(plain)
	if !strings.EqualFold(scheme, "Bearer") || plain == "" {
		return logbridge.Token{}, newProblem(http.StatusUnauthorized, "a bearer token is needed")
	}
	token, err := s.deps.Tokens.Authenticate(plain)
	if err != nil {
		return logbridge.Token{}, newProblem(http.StatusUnauthorized, "the bearer token is not valid")
	}
	return token, nil
}

// authorize finds who is asking and whether they may do what needs role; who is asking is told of one that may not, too.
func (s *Server) authorize(authorization string, role logbridge.Role) (logbridge.Token, *problem) {
	token, p := s.authenticate(authorization)
	if p != nil {
		return token, p
	}
	if roleRank[token.Role] < roleRank[role] {
		return token, newProblem(http.StatusForbidden, "this call needs a token of role "+string(role)+" or above, not "+string(token.Role))
	}
	return token, nil
}

// mayWrite lets tokens through that may write logs of services: role ingest, and admin, which may do everything; also as the
// password of basic authentication. Errors are refusals.
func (s *Server) mayWrite(r *http.Request) (logbridge.Token, error) {
	token, p := s.authenticate(bearerOf(r.Header.Get("Authorization")))
	switch {
	case p != nil:
		return token, refuse(badToken, "", 0, p)
	case token.Role != logbridge.RoleIngest && token.Role != logbridge.RoleAdmin:
		return token, refuse(badRole, "", 0, errors.New("writing logs needs a token of role ingest or admin, not "+string(token.Role)))
	}
	return token, nil
}

type actorKey struct{}

// actor is who makes a call of the operator API.
func actor(ctx context.Context) logbridge.Actor {
	a, _ := ctx.Value(actorKey{}).(logbridge.Actor)
	return a
}

// guard is the huma middleware that lets only tokens of the operation's role through. forbidden, if not nil, is told of those
// that are good for something else.
func (s *Server) guard(role logbridge.Role, api huma.API, forbidden func(huma.Context, logbridge.Actor, *problem)) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		token, p := s.authorize(ctx.Header("Authorization"), role)
		address, _, err := net.SplitHostPort(ctx.RemoteAddr())
		if err != nil {
			address = ctx.RemoteAddr()
		}
		by := logbridge.Actor{Name: token.Name, Address: address}
		if p != nil {
			if p.Status == http.StatusUnauthorized {
				ctx.SetHeader("WWW-Authenticate", challenge)
			}
			ctx.SetHeader("Content-Type", p.ContentType(""))
			ctx.SetStatus(p.Status)
			_ = api.Marshal(ctx.BodyWriter(), "application/json", p)
			if p.Status == http.StatusForbidden && forbidden != nil {
				forbidden(ctx, by, p)
			}
			return
		}
		next(huma.WithValue(ctx, actorKey{}, by))
	}
}
