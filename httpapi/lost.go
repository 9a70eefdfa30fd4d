package httpapi

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// lost answers what no surface of a listener is asked: in the words of who asks, and with the way to what is there. Nothing of
// the request is in its answers, so nothing of it has to be escaped.
type lost struct{ way string }

// newLost makes the answers of a listener that has the console and the operator API, or of one that has neither: that does not
// say where they are, since whoever asks there need not know.
func newLost(admin bool) lost {
	if admin {
		return lost{"The console is at /, the operator API at /api/v1/."}
	}
	return lost{"This address takes logs of devices and web pages."}
}

// lostPolicy lets the page be text.
const lostPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// lostLinks are the ways as links, where they lead somewhere from here.
var lostLinks = strings.NewReplacer("at /,", `at <a href="/">/</a>,`, "at /api/v1/.", `at <a href="/api/v1/">/api/v1/</a>.`)

// problem is the answer to a client that reads problems.
func (l lost) problem(status int) *problem {
	p := problemOf(status)
	if status == http.StatusNotFound {
		p.Detail += ": " + strings.ToLower(l.way[:1]) + strings.TrimSuffix(l.way[1:], ".")
	}
	return p
}

// answer writes a problem to who asks for JSON, a page to a browser, and a line of text to all others.
func (l lost) answer(c echo.Context, status int) {
	accept, title := c.Request().Header.Get("Accept"), http.StatusText(status)
	page, data := strings.Contains(accept, "text/html"), strings.Contains(accept, "json")
	secureHeaders(c.Response().Header(), lostPolicy)
	switch {
	case page && status == http.StatusNotFound:
		_ = c.HTML(status, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>`+title+
			`</title><h1>There is nothing at this path</h1><p>`+lostLinks.Replace(l.way)+"</p></html>\n")
	case data && !page:
		writeProblem(c, l.problem(status))
	case status == http.StatusNotFound:
		_ = c.String(status, "There is nothing at this path. "+l.way+"\n")
	default:
		_ = c.String(status, title+"\n")
	}
}
