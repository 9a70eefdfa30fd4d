package console

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mostScript bounds what a phone loads before it shows anything, compressed: less than two seconds on a slow mobile network.
const mostScript = 70 << 10

// TestSourcesKeepTheRules looks for what no source of the console may hold: text that could become markup or script, a type that
// is none, an address of another host.
func TestSourcesKeepTheRules(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|srcdoc|\beval\(|new Function|javascript:|https?://|\bany\b[\])>,;]|as any|: any\b|@ts-|localStorage|sessionStorage`)
	namespace, example := `xmlns="http://www.w3.org/2000/svg"`, `placeholder="https://shop.example.com"`
	n := 0
	err := filepath.WalkDir("src", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		text, err := os.ReadFile(file)
		for i, line := range strings.Split(strings.NewReplacer(namespace, "", example, "").Replace(string(text)), "\n") {
			if found := forbidden.FindString(line); found != "" {
				t.Errorf("%s:%d has %s", file, i+1, found)
			}
		}
		return err
	})
	if err != nil || n < 20 {
		t.Errorf("%d files, %v", n, err)
	}
}

// TestBuild looks at what was built: nothing inline, names with a hash, and a size that a phone can load.
func TestBuild(t *testing.T) {
	files := Files()
	if files == nil {
		t.Skip("SKIPPED: the console is not built (make build, with npm); its files are not looked at")
	}
	index, err := fs.ReadFile(files, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(index, []byte("<style")) || regexp.MustCompile(`<script[^>]*>[^<]`).Match(index) || bytes.Contains(index, []byte("://")) {
		t.Errorf("index.html has something inline or from elsewhere:\n%s", index)
	}
	assets, err := fs.ReadDir(files, "assets")
	if err != nil {
		t.Fatal(err)
	}
	plain, packed := 0, 0
	for _, a := range assets {
		if !regexp.MustCompile(`^[\w.]+-[\w-]{8}\.\w+$`).MatchString(a.Name()) {
			t.Errorf("%s has no hash in its name, and is kept for ever", a.Name())
		}
		if path.Ext(a.Name()) != ".js" {
			continue
		}
		b, err := fs.ReadFile(files, "assets/"+a.Name())
		if err != nil {
			t.Fatal(err)
		}
		var small bytes.Buffer
		w := gzip.NewWriter(&small)
		_, _ = w.Write(b)
		_ = w.Close()
		plain, packed = plain+len(b), packed+small.Len()
	}
	t.Logf("script: %d bytes, %d compressed", plain, packed)
	if packed == 0 || packed > mostScript {
		t.Errorf("%d bytes of compressed script, %d are the most", packed, mostScript)
	}
}
