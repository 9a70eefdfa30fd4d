// Package console carries the operator's console: what "make build" made of the TypeScript in src, ready to be served.
//
// The folder dist holds a README alone until then, so that the program compiles, and is tested, without Node. Which view is
// where: src/main.tsx has the table. The console knows nothing but /api/v1, and package httpapi serves it.
package console

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files are index.html, and under assets what it loads, with a hash of their content in their names; nil when the program
// was built without the console.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil // cannot be: the folder is embedded
	}
	if _, err := fs.Stat(files, "index.html"); err != nil {
		return nil
	}
	return files
}
