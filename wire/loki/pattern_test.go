package loki

import (
	"strings"
	"testing"
)

// TestLongTextsMatchAsShortOnes compares texts that are read in parts with the same in one piece.
func TestLongTextsMatchAsShortOnes(t *testing.T) {
	long := strings.Repeat("aé\xffb ", 1<<18)
	texts := []string{"z" + long, long + "\nz\n", "\n" + long + "end\xc3"}
	held, pauses := 0, 0
	for _, expr := range []string{`^z`, `z$`, `(?m)^z$`, `\bz\b`, `end.$`, `^[zaéb \x{FFFD}]+$`, `(?s)^.*$`, `[^ ]nd`} {
		e, err := Parse("{a=`b`} |~ `" + expr + "`")
		if err != nil {
			t.Fatal(err)
		}
		whole, parts := e.(*LogExpr).Pipeline(), e.(*LogExpr).Pipeline()
		parts.Pause = func() bool { pauses++; return true }
		for i, text := range texts {
			_, _, want := whole.Process(text, nil)
			_, _, got := parts.Process(text, nil)
			if got != want {
				t.Errorf("%s on text %d: %v in parts, %v in one piece", expr, i, got, want)
			}
			if got {
				held++
			}
		}
	}
	if held == 0 || pauses == 0 {
		t.Errorf("%d matches, %d pauses", held, pauses)
	}
}

func TestAPauseEndsAPipeline(t *testing.T) {
	for _, query := range []string{"{a=`b`} |~ `x.*z`", "{a=`b`} !~ `x.*z`", "{a=`b`} | logfmt | k!~`x.*z`", "{a=`b`} | logfmt | drop k=~`x.*z`"} {
		e, err := Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		p := e.(*LogExpr).Pipeline()
		left := 2
		p.Pause = func() bool { left--; return left > 0 }
		line := "k=" + strings.Repeat("x", 200_000)
		for n := 0; left > 0; n++ {
			if n == 1000 {
				t.Fatalf("%s: no pause", query)
			}
			p.Process(line, nil)
		}
		if _, _, keep := p.Process(line, nil); keep || left != 0 {
			t.Errorf("%s: kept %v, asked %d times more", query, keep, -left)
		}
	}
}
