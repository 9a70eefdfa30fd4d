package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/logbridge/logbridge"
)

// challenge is sent with every 401 of the operator API.
const challenge = `Bearer realm="logbridge"`

// tokenCheck is how often an answer that goes on asks whether its token is still good: a look-up in memory. A token that is
// revoked, on whichever node, or that expires, ends what it follows within so long.
const tokenCheck = time.Second

// roleRank orders the roles of people: each may do what those before it may. A token of another role, ingest among them,
// has rank 0 and may call nothing here.
var roleRank = map[logbridge.Role]int{logbridge.RoleViewer: 1, logbridge.RoleOperator: 2, logbridge.RoleAdmin: 3}

// caller is who makes a request.
type caller struct {
	logbridge.Token
	address string
	plain   string // the token's text

	// What a change is about, for its audit record (about).
	path, product, device, reason string
}

func (c *caller) actor() logbridge.Actor {
	return logbridge.Actor{Name: c.Name, Address: c.address}
}

type callerKey struct{}

// withCaller makes a context of a request of who makes it.
func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf is who makes the request; nil for a context of none.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// actor is who makes a call of the operator API.
func actor(ctx context.Context) logbridge.Actor {
	if c := callerOf(ctx); c != nil {
		return c.actor()
	}
	return logbridge.Actor{}
}

// authenticate finds who is asking by the header Authorization.
func (s *Server) authenticate(r *http.Request, authorization string) (*caller, *problem) {
	scheme, plain, _ := strings.Cut(authorization, " ")
	plain = strings.TrimSpace(plain)
	if !strings.EqualFold(scheme, "Bearer") || plain == "" {
		return s.unknown(r), newProblem(http.StatusUnauthorized, "a bearer token is needed")
	}
	return s.holder(r, plain)
}

// unknown is a caller without a token that is good.
func (s *Server) unknown(r *http.Request) *caller { return &caller{address: clientIP(r)} }

// holder finds who has a token.
func (s *Server) holder(r *http.Request, plain string) (*caller, *problem) {
	token, err := s.deps.Tokens.Authenticate(plain)
	if err != nil {
		return s.unknown(r), newProblem(http.StatusUnauthorized, "the bearer token is not valid")
	}
	return &caller{Token: token, address: clientIP(r), plain: plain}, nil
}

// authenticateAPI finds who is asking the operator API: by a bearer token, or by the cookie of a session. A request with the
// header is judged by that alone.
func (s *Server) authenticateAPI(r *http.Request) (*caller, *problem) {
	if authorization := r.Header.Get("Authorization"); authorization != "" {
		return s.authenticate(r, authorization)
	}
	return s.ofSession(r)
}

// permit says whether a caller may do what needs role.
func (c *caller) permit(role logbridge.Role) *problem {
	if roleRank[c.Role] < roleRank[role] {
		return newProblem(http.StatusForbidden, "this call needs a token of role "+string(role)+" or above, not "+string(c.Role))
	}
	return nil
}

// authorizeAPI finds who is asking the operator API and whether they may do what needs role; who is asking is told of one that
// may not, too.
func (s *Server) authorizeAPI(r *http.Request, role logbridge.Role) (*caller, *problem) {
	c, p := s.authenticateAPI(r)
	if p == nil {
		p = c.permit(role)
	}
	return c, p
}

// mayWrite lets tokens through that may write logs of services: role ingest, and admin, which may do everything; also as the
// password of basic authentication. Errors are refusals.
func (s *Server) mayWrite(r *http.Request) (logbridge.Token, error) {
	c, p := s.authenticate(r, bearerOf(r.Header.Get("Authorization")))
	switch {
	case p != nil:
		return c.Token, refuse(badToken, "", 0, p)
	case c.Role != logbridge.RoleIngest && c.Role != logbridge.RoleAdmin:
		return c.Token, refuse(badRole, "", 0, errors.New("writing logs needs a token of role ingest or admin, not "+string(c.Role)))
	}
	return c.Token, nil
}

// errTokenEnded is the cause of a context whose token is not good any more.
var errTokenEnded = newProblem(http.StatusUnauthorized, "the token has been revoked or has expired")

// whileGood is a context that ends when the caller's token is no longer good, with errTokenEnded as its cause. The caller of
// whileGood ends it.
func (s *Server) whileGood(ctx context.Context, c *caller) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var check *time.Timer
	made := make(chan struct{})
	check = time.AfterFunc(s.tokenCheck, func() {
		<-made
		if ctx.Err() != nil {
			return
		}
		if t, err := s.deps.Tokens.Authenticate(c.plain); err != nil || t.ID != c.ID {
			cancel(errTokenEnded)
			return
		}
		check.Reset(s.tokenCheck)
	})
	close(made)
	return ctx, func() {
		check.Stop()
		cancel(nil)
	}
}

// guard is the huma middleware that lets only tokens of the operation's role and scope through. forbidden, if not nil, is told
// of those that are good for something else.
func (s *Server) guard(role logbridge.Role, need reach, api huma.API, forbidden func(huma.Context, *caller, *problem)) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		c, p := s.authorizeAPI(humaecho.Unwrap(ctx).Request(), role)
		c.about(ctx)
		if p == nil {
			p = need.permit(ctx, c)
		}
		if p != nil {
			writeHumaProblem(ctx, api, p)
			if c.Role != "" && forbidden != nil {
				forbidden(ctx, c, p)
			}
			return
		}
		next(huma.WithContext(ctx, withCaller(ctx.Context(), c)))
	}
}

func writeHumaProblem(ctx huma.Context, api huma.API, p *problem) {
	if p.Status == http.StatusUnauthorized {
		ctx.SetHeader("WWW-Authenticate", challenge)
	}
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	_ = api.Marshal(ctx.BodyWriter(), "application/json", p)
}
