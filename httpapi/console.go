package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/labstack/echo/v4"
)

// consolePaths are the views of the console, which index.html answers; the page itself finds out which it is.
var consolePaths = []string{"/", "/logs", "/devices", "/devices/:product/:device", "/rules", "/stores", "/ledger", "/audit", "/tokens"}

// consoleAssets is what index.html loads; the names hold a hash of the content.
const consoleAssets = "/assets/"

// iconPath is what browsers ask for beside pages that name no icon, such as an answer of the API that somebody looks at.
const iconPath = "/favicon.ico"

// consolePolicy lets the page run its own script, and nothing that comes from elsewhere or out of a log line: no script, style or
// frame but its own, no text that becomes script or markup (Trusted Types), no form that leaves.
const consolePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// asset is one file of the console.
type asset struct {
	contentType string
	plain       []byte
	gzipped     []byte // nil if that is not smaller
	etag        string
}

// routeConsole serves the console, or says how to get it.
func (s *Server) routeConsole(e *echo.Echo) error {
	page, icon := s.noConsole, noIcon
	if s.cfg.Console != nil {
		assets, err := readAssets(s.cfg.Console)
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		page = func(c echo.Context) error { return assets["index.html"].serve(c, http.StatusOK, "no-cache") }
		if a, ok := iconOf(assets); ok {
			icon = func(c echo.Context) error { return a.serve(c, http.StatusOK, iconCache) }
		}
		e.HTTPErrorHandler = failPage(assets["index.html"], e.HTTPErrorHandler)
		e.GET(consoleAssets+"*", func(c echo.Context) error {
			a, ok := assets[strings.TrimPrefix(c.Request().URL.Path, "/")]
			if !ok {
				return echo.ErrNotFound
			}
			return a.serve(c, http.StatusOK, "public, max-age=31536000, immutable")
		})
	}
	e.GET(iconPath, icon)
	for _, p := range consolePaths {
		e.GET(p, page)
		e.HEAD(p, page)
	}
	return nil
}

// iconCache lets browsers keep what iconPath answers for a day: its name has no hash.
const iconCache = "public, max-age=86400"

// iconOf finds the icon among the assets: the build puts a hash into its name.
func iconOf(assets map[string]asset) (asset, bool) {
	for name, a := range assets {
		if ok, _ := path.Match(strings.TrimPrefix(consoleAssets, "/")+"icon-*.svg", name); ok { // the pattern is right
			return a, true
		}
	}
	return asset{}, false
}

// noIcon says that there is none, which is no error.
func noIcon(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", iconCache)
	return c.NoContent(http.StatusNoContent)
}

// failPage gives somebody who looks with a browser for a page that is none the console, which says so and where the views are. All
// others, and all paths of the other surfaces, are answered as ever.
func failPage(page asset, next echo.HTTPErrorHandler) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if h := (*echo.HTTPError)(nil); !c.Response().Committed && errors.As(err, &h) && h.Code == http.StatusNotFound && looksForPage(c.Request()) {
			_ = page.serve(c, http.StatusNotFound, "no-store") // an error of it is that the browser is gone
			return
		}
		next(err, c)
	}
}

// looksForPage reports whether a request is a browser's for a page, at a path that no other surface speaks for.
func looksForPage(r *http.Request) bool {
	path := r.URL.Path
	if isDevicePath(path) || isSLSPath(path) || isCLSPath(path) || isOTLPPath(path) || under(path, lokiPath) || under(path, "/api") || strings.HasPrefix(path, consoleAssets) {
		return false
	}
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// readAssets reads all files, and compresses them once for all readers.
func readAssets(files fs.FS) (map[string]asset, error) {
	assets := map[string]asset{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		a := asset{contentType: mime.TypeByExtension(path.Ext(name)), plain: b, etag: `"` + hex.EncodeToString(sum[:8])}
		var small bytes.Buffer
		w, err := gzip.NewWriterLevel(&small, gzip.BestCompression)
		if err != nil {
			return err
		}
		_, _ = w.Write(b) // to memory
		_ = w.Close()
		if small.Len() < len(b) {
			a.gzipped = small.Bytes()
		}
		assets[name] = a
		return nil
	})
	if _, ok := assets["index.html"]; err == nil && !ok {
		err = fmt.Errorf("index.html: %w", fs.ErrNotExist)
	}
	return assets, err
}

// serve answers with the file, or that it has not changed.
func (a asset) serve(c echo.Context, status int, cache string) error {
	h := c.Response().Header()
	secureHeaders(h, consolePolicy)
	h.Set("Cache-Control", cache)
	h.Set("Vary", "Accept-Encoding")
	body, etag := a.plain, a.etag+`"`
	if a.gzipped != nil && acceptsGzip(c.Request()) {
		body, etag = a.gzipped, a.etag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", etag)
	if status == http.StatusOK && c.Request().Header.Get("If-None-Match") == etag {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(status, a.contentType, body)
}

// acceptsGzip reports whether a client said so, whatever weight it gave it but none.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == "gzip" {
			return strings.TrimRight(strings.ReplaceAll(weight, " ", ""), "0.") != "q="
		}
	}
	return false
}

// secureHeaders are those of every page for people.
func secureHeaders(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

const noConsoleText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>logbridge</title></head>
<body><h1>logbridge</h1>
<p>Device fleets and web pages log into this server; operators read and steer from it.</p>
<p>This program was built without its console. To have it here: install Node 20.19 or newer with npm, run <code>make build</code>, and start
<code>bin/logbridge</code> again. Everything the console does is also in the command line (<code>logbridge --help</code>) and in the API.</p>
<ul>
<li>Devices: <code>POST /device/reportlog</code></li>
<li>Web pages: <code>/logstores/{store}/track</code> and <code>/sls/{project}/logstores/{store}/track</code> (Alibaba SLS), <code>/tracklog?topic_id=</code> (Tencent CLS)</li>
<li>Grafana and logcli: a data source of type Loki at this address, with a token as the password of basic authentication</li>
<li>Operators: <code>/api/v1</code>, described by <a href="/api/v1/openapi.json">openapi.json</a>; logs are at <code>/api/v1/logs</code></li>
<li>Operations: <a href="/healthz">healthz</a>, <a href="/readyz">readyz</a>, <a href="/metrics">metrics</a></li>
</ul></body></html>
`

// noConsole says what this is, where things are, and how to get the console.
func (s *Server) noConsole(c echo.Context) error {
	secureHeaders(c.Response().Header(), "default-src 'none'; frame-ancestors 'none'")
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.HTML(http.StatusOK, noConsoleText)
}
