package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/logbridge/logbridge"
)

// The console signs in with a token, which its browser then keeps in a cookie that no script can read and no other site makes
// it send (SameSite=Strict). There is no state of a session here: the cookie is looked up like a bearer token at each
// request, so that a revoked one is over at once on every node. A cookie counts on the operator API alone.
//
// Browsers count other ports and subdomains as the same site, so every request by cookie must also come from a page of this
// very origin, by the headers Sec-Fetch-Site and Origin (net/http's CrossOriginProtection); reads too, since one that follows
// holds resources for as long as it likes.
const sessionCookie = "logbridge_session"

// noDevice is whose wrong sign-ins are counted (Attempts): no device has an empty name.
var noDevice logbridge.DeviceID

var errForeign = newProblem(http.StatusForbidden, "a session is good for pages of this server only")

// ofSession finds who is asking by the cookie.
func (s *Server) ofSession(r *http.Request) (*caller, *problem) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return s.unknown(r), newProblem(http.StatusUnauthorized, "a bearer token is needed")
	}
	plain, err := url.QueryUnescape(cookie.Value)
	if err != nil {
		plain = ""
	}
	if !fromHere(r) {
		return s.unknown(r), errForeign
	}
	c, p := s.holder(r, plain)
	if p != nil {
		p = newProblem(http.StatusUnauthorized, "the session is over: its token has been revoked or has expired")
	}
	return c, p
}

// fromHere reports that no page of another origin sent a request. CrossOriginProtection lets methods pass that change
// nothing, so it is asked as for one that does.
func fromHere(r *http.Request) bool {
	unsafe := *r
	unsafe.Method = http.MethodPost
	return http.NewCrossOriginProtection().Check(&unsafe) == nil
}

// cookieOf keeps a token in the browser until that is closed. Characters that a cookie cannot hold are escaped; tokens of this
// server have none. An empty one takes the cookie away.
func cookieOf(r *http.Request, plain string) string {
	c := http.Cookie{Name: sessionCookie, Value: url.QueryEscape(plain), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil}
	if plain == "" {
		c.MaxAge = -1
	}
	return c.String()
}

type postSession struct {
	Body struct {
		Token string `json:"token" minLength:"1" maxLength:"1024"`
	}
}

// sessionView is who has signed in.
type sessionView struct {
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	Scope   []string   `json:"scope" doc:"the streams, or beginnings of streams, that the token is limited to; empty is everything"`
	Expires *time.Time `json:"expires,omitempty" doc:"when the token ends"`
}

type sessionAnswer struct {
	SetCookie string `header:"Set-Cookie"`
	Body      sessionView
}

type signedOut struct {
	SetCookie string `header:"Set-Cookie"`
}

type requestKey struct{}

// requestOf is the HTTP request of a call about the session.
func requestOf(ctx context.Context) *http.Request {
	r, _ := ctx.Value(requestKey{}).(*http.Request)
	return r
}

// session registers signing in and out. Both are open to everyone, but not to pages of other origins: signing someone in as
// somebody else is an attack too.
func (a *api) session() {
	const path = "/session"
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, path, "get-session", "Say who is signed in, or whose the bearer token is", a.getSession)
	in := huma.Operation{
		OperationID: "create-session", Method: http.MethodPost, Path: path, Summary: "Sign in: keep a token in a cookie",
		MaxBodyBytes: maxAPIBody, DefaultStatus: http.StatusOK, Middlewares: huma.Middlewares{a.ownPages},
	}
	out := in
	out.OperationID, out.Method, out.Summary, out.DefaultStatus = "delete-session", http.MethodDelete, "Sign out", http.StatusNoContent
	huma.Register(a.huma, in, handled(a, func(ctx context.Context, body *postSession) (*sessionAnswer, error) { return a.signIn(ctx, &in, body) }))
	huma.Register(a.huma, out, handled(a, func(ctx context.Context, _ *none) (*signedOut, error) { return a.signOut(ctx, &out) }))
}

// ownPages lets requests through that no page of another origin sent.
func (a *api) ownPages(ctx huma.Context, next func(huma.Context)) {
	r := humaecho.Unwrap(ctx).Request()
	if !fromHere(r) {
		writeHumaProblem(ctx, a.huma, errForeign)
		return
	}
	next(huma.WithValue(ctx, requestKey{}, r))
}

func viewSession(t logbridge.Token) sessionView {
	return sessionView{Name: t.Name, Role: string(t.Role), Scope: list(t.Scope), Expires: at(t.Expires)}
}

func (a *api) getSession(ctx context.Context, _ *none) (*answer[sessionView], error) {
	return &answer[sessionView]{viewSession(callerOf(ctx).Token)}, nil
}

func (a *api) signIn(ctx context.Context, op *huma.Operation, in *postSession) (*sessionAnswer, error) {
	r := requestOf(ctx)
	if !a.mayTry(r, noDevice) {
		return nil, newProblem(http.StatusTooManyRequests, "too many wrong tokens from this address; try again in a minute")
	}
	c, p := a.holder(r, in.Body.Token)
	if p != nil {
		a.tried(r, noDevice, true)
		return nil, newProblem(http.StatusUnauthorized, "the token is not valid")
	}
	c.path = "session"
	if p := c.permit(logbridge.RoleViewer); p != nil {
		a.record(withCaller(ctx, c), op, &deed{}, outcomeRefused, p.Detail)
		return nil, p
	}
	a.record(withCaller(ctx, c), op, &deed{}, outcomeDone, "")
	return &sessionAnswer{cookieOf(r, in.Body.Token), viewSession(c.Token)}, nil
}

// signOut can be repeated. It takes the cookie away; the token stays good until it is revoked.
func (a *api) signOut(ctx context.Context, op *huma.Operation) (*signedOut, error) {
	r := requestOf(ctx)
	if c, p := a.ofSession(r); p == nil {
		c.path = "session"
		a.record(withCaller(ctx, c), op, &deed{}, outcomeDone, "")
	}
	return &signedOut{cookieOf(r, "")}, nil
}
