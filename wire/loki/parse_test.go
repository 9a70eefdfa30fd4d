package loki

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestErrorsSayWhatAndWhere: one sentence with line and column, what was expected and what is there.
func TestErrorsSayWhatAndWhere(t *testing.T) {
	for query, want := range map[string]string{
		``:                     `line 1, column 1: expected a selector such as {device="d"}, a function or a number, found the end of the query`,
		`{device="d"`:          `line 1, column 12: expected "," or "}" after a matcher, found the end of the query`,
		`{device=d}`:           `line 1, column 9: expected a quoted string after =, found "d"`,
		`{device='d'}`:         `line 1, column 9: a string is written in "…" or back-ticks, not in '…'`,
		`{device}`:             `line 1, column 8: expected =, !=, =~ or !~ after "device", found "}"`,
		`{温度="d"}`:             `line 1, column 2: expected the name of a label, found "温度"`,
		"{device=`d`}\n  |= x": `line 2, column 6: expected a quoted string after |=, found "x"`,
		"{device=`温度`} § ":     `line 1, column 15: "§" has no meaning here`,
		`{device="d`:           `line 1, column 9: the string is not closed`,
		"{device=\"d\n\"}":     `line 1, column 9: the string is not closed at the end of its line`,
		`{device="\d"}`:        `line 1, column 9: the string "\d" has an escape that there is not; in back-ticks a backslash is nothing special`,
		"{device=\"\xff\"}":    `line 1, column 9: the string is not valid UTF-8`,
		"{a=\"b\"} \xff":       `line 1, column 9: "\xff" has no meaning here`,
		`{device=~"("}`:        `line 1, column 10: the regular expression "(" is not valid: missing closing )`,
		`{}`:                   `line 1, column 1: the selector needs a matcher that the empty value does not match, such as service_name=~".+"`,
		`{device="d"} | line_format "{{if .x}}y{{end}}"`: `line 1, column 28: the template "{{if .x}}y{{end}}" is not supported here: expected text with {{.label}} or {{__line__}} in it`,
		`{device="d"} | line_format x`:                   `line 1, column 28: expected a quoted template after line_format, found "x"`,
		`{device="d"} | decolorize`:                      `line 1, column 16: decolorize is not supported here`,
		`{device="d"} | unwrap x`:                        `line 1, column 16: unwrap is not supported here`,
		`{device="d"} |> "x"`:                            `line 1, column 14: the pattern filter |> is not supported here`,
		`{device="d"} | x=ip("1.2.3.4")`:                 `line 1, column 18: ip() is not supported here`,
		`{device="d"} |= ip("1.2.3.4")`:                  `line 1, column 17: ip() is not supported here`,
		`{device="d"} | level`:                           `line 1, column 21: expected a comparison such as = or >= after "level", found the end of the query`,
		`{device="d"} | level > "x"`:                     `line 1, column 24: > compares numbers: write = or != before the string "x"`,
		`{device="d"} | size > 5parsecs`:                 `line 1, column 23: "5parsecs" is neither a duration such as 10ms nor a size such as 1KB`,
		`{device="d"} | json a="b."`:                     `line 1, column 23: "b." is not a path into JSON such as a.b, a["b c"] or a[0]`,
		`{device="d"} | logfmt --lax`:                    `line 1, column 23: expected --strict or --keep-empty, found "--lax"`,
		`{device="d"} "x"`:                               `line 1, column 14: expected an operator or the end of the query, found the string "x"`,
		`rate({device="d"})`:                             `line 1, column 18: expected a range such as [5m], found ")"`,
		`rate({device="d"}[5])`:                          `line 1, column 18: the range is "[5]", and should be a duration such as [30s], [5m] or [1d]`,
		`rate({device="d"}[5m)`:                          `line 1, column 18: the range is not closed: expected a duration and ']'`,
		`rate({device="d"}[5m]) by (x)`:                  `line 1, column 24: by does not go with rate: write sum by (…) (rate(…))`,
		`rate({a="b"}[5m] offset x)`:                     `line 1, column 25: expected a duration such as 5m after offset, found "x"`,
		`topk(rate({device="d"}[5m]))`:                   `line 1, column 6: expected how many series topk gives, from 1 to 100000, found "rate"`,
		`sum({device="d"})`:                              `line 1, column 5: sum needs series, not lines: a log query becomes one with count_over_time or rate`,
		`sum(5)`:                                         `line 1, column 5: sum needs series, not a number`,
		`median(rate({device="d"}[5m]))`:                 `line 1, column 1: "median" is not a function; expected one such as count_over_time or sum, or a selector such as {device="d"}`,
		`stddev(rate({device="d"}[5m]))`:                 `line 1, column 1: stddev is not supported here`,
		`rate({a="b"}[5m]) / rate({a="b"}[5m])`:          `line 1, column 19: "/" between two series is not supported here: one side must be a number or vector(n)`,
		`rate({a="b"}[5m]) or vector(0)`:                 `line 1, column 19: the set operator or is not supported here`,
		`{a="b"} * 2`:                                    `line 1, column 9: "*" needs numbers on both sides: a log query becomes one with count_over_time or rate`,
		`1 + on(x) 2`:                                    `line 1, column 5: on is not supported here: one side of an operator must be a number or vector(n)`,
	} {
		e, err := Parse(query)
		if !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%q: %v, %v", query, e, err)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "invalid query: "); got != want {
			t.Errorf("%q:\n  %s; want\n  %s", query, got, want)
		}
	}
}

// TestBounds: each bound refuses what is one beyond it, in a sentence, and takes what is at it.
func TestBounds(t *testing.T) {
	of := strings.Repeat
	for name, row := range map[string]struct{ within, beyond, says string }{
		"length":  {`{a="` + of("x", maxQuery-6) + `"}`, `{a="` + of("x", maxQuery-5) + `"}`, "bytes long"},
		"depth":   {of("(", maxDepth-1) + "1" + of(")", maxDepth-1), of("(", maxDepth) + "1" + of(")", maxDepth), "nested deeper"},
		"stages":  {`{a="b"}` + of(`|="c"`, maxStages), `{a="b"}` + of(`|="c"`, maxStages+1), "stages"},
		"filters": {`{a="b"} | x=1` + of(` and x=1`, 400), `{a="b"} | x=1` + of(` and x=1`, maxParts), "parts"},
		"or":      {`{a="b"} |= "x"` + of(` or "x"`, maxParts-1), `{a="b"} |= "x"` + of(` or "x"`, maxParts), "parts"},
		"chain":   {"vector(1)" + of("+1", maxParts/2), "vector(1)" + of("+1", maxParts), "parts"},
		"regexp":  {`{a=~"(abc){1000}"}`, `{a=~"(` + of("x", 30) + `){1000}"}`, "too large"},
		"regexps": {`{a=~"` + of("x", 15000) + `"}`, `{a=~"` + of("x", 15000) + `",b=~"` + of("x", 15000) + `"}`, "too large"},
		"classes": {`{a=~"` + of(`\\pL`, 32) + `"}`, `{a=~"` + of(`\\pL`, 33) + `"}`, "classes"},
		"fields":  {`{a="b"} | json a` + of(",a", maxFields-1), `{a="b"} | json a` + of(",a", maxFields), "arguments"},
	} {
		if _, err := Parse(row.within); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Parse(row.beyond); !errors.Is(err, logbridge.ErrInvalid) || !strings.Contains(err.Error(), row.says) || len(err.Error()) > 300 {
			t.Errorf("%s: %.400v", name, err)
		}
	}
	for _, deep := range []string{"(", "{", "sum(", "1+", "rate((", `{a="b"}|(`, `{a="b"}|x=1,`} {
		if _, err := Parse(of(deep, maxQuery/len(deep))); err == nil {
			t.Errorf("%s again and again is accepted", deep)
		}
	}
}

func TestTree(t *testing.T) {
	e, err := Parse("topk(3, sum without (x) (rate({a=\"b\", c!~`d`} |= \"e\" [1h30m] offset 5m))) * 60 # a minute")
	if err != nil {
		t.Fatal(err)
	}
	times, ok := e.(*BinaryExpr)
	if !ok || times.Op != '*' || !reflect.DeepEqual(times.Right, &LiteralExpr{Value: 60}) {
		t.Fatalf("%#v", e)
	}
	top, ok := times.Left.(*VectorExpr)
	if !ok || top.Op != TopK || top.Param != 3 || top.Grouped {
		t.Fatalf("%#v", times.Left)
	}
	sum, ok := top.Inner.(*VectorExpr)
	if !ok || sum.Op != Sum || !sum.Grouped || !sum.Without || !reflect.DeepEqual(sum.By, []string{"x"}) {
		t.Fatalf("%#v", top.Inner)
	}
	rate, ok := sum.Inner.(*RangeExpr)
	if !ok || rate.Op != Rate || rate.Range != 90*time.Minute || rate.Offset != 5*time.Minute || len(rate.Log.Matchers) != 2 || len(rate.Log.Stages) != 1 {
		t.Fatalf("%#v", sum.Inner)
	}
	if want := `(topk(3, sum without (x) (rate({a="b", c!~"d"} |= "e"[1h30m] offset 5m))) * 60)`; e.String() != want {
		t.Errorf("%s, want %s", e, want)
	}
}

func TestMatcher(t *testing.T) {
	for selector, row := range map[string]struct{ yes, no []string }{
		`{x="a"}`:             {[]string{"a"}, []string{"", "b", "ab"}},
		`{x!="a"}`:            {[]string{"", "b"}, []string{"a"}},
		`{x=~"a|b.*"}`:        {[]string{"a", "b", "bc", "b\nc"}, []string{"", "ab", "xb", "ax"}},
		`{x!~"a|b.*"}`:        {[]string{"", "ab", "xb"}, []string{"a", "bc"}},
		`{x=~"(?i)error"}`:    {[]string{"Error"}, []string{"errors"}},
		`{x=~".*"}`:           {[]string{"", "\n"}, nil},
		`{x=""}`:              {[]string{""}, []string{"a"}},
		`{x=~"a|"}`:           {[]string{"", "a"}, []string{"b"}},
		"{x=~`\\d+\\.\\d`}":   {[]string{"12.3"}, []string{"12x3"}},
		`{x=~"a)(b|(a)"}`:     {},
		`{}`:                  {},
		``:                    {},
		` # only a comment`:   {},
		`{x="a"} |= "b"`:      {},
		`{x="a"`:              {},
		`rate({x="a"}[5m])`:   {},
		"{x=\"a\"} # comment": {[]string{"a"}, nil},
	} {
		matchers, err := ParseSelector(selector)
		if len(row.yes) == 0 {
			if everything := selector == "{}" || selector == "" || strings.HasPrefix(selector, " #"); everything != (err == nil) || len(matchers) > 0 {
				t.Errorf("%s: %v, %v", selector, matchers, err)
			}
			continue
		}
		if err != nil || len(matchers) != 1 {
			t.Errorf("%s: %v, %v", selector, matchers, err)
			continue
		}
		for _, v := range row.yes {
			if !matchers[0].Match(v) {
				t.Errorf("%s does not match %q", selector, v)
			}
		}
		for _, v := range row.no {
			if matchers[0].Match(v) {
				t.Errorf("%s matches %q", selector, v)
			}
		}
	}
}

func TestApply(t *testing.T) {
	for query, want := range map[string]string{
		"7 + 2": "9", "7 - 2": "5", "7 * 2": "14", "7 / 2": "3.5", "7 % 2": "1", "7 ^ 2": "49", "2 ^ 3 ^ 2": "512", "1 - 2 - 3": "-4",
		"1 + 2 * 3": "7", "(1 + 2) * 3": "9", "7 > 2": "1", "7 > bool 2": "1", "7 <= 2": "0", "2 >= 2": "1", "2 < 2": "0", "2 == 2": "1", "2 != 2": "0",
		"7 / 0": "(7 / 0)", "7 % 0": "(7 % 0)", "-3 ^ 2": "9", "1 - -1": "2", "2 > 1 == 1": "1",
	} {
		e, err := Parse(query)
		if err != nil || e.String() != want {
			t.Errorf("%s: %v, %v; want %s", query, e, err, want)
		}
	}
	for op, row := range map[byte][2]string{
		'>': {"3 true", "1 true"}, '<': {"3 false", "0 true"}, 'G': {"3 true", "1 true"}, 'L': {"3 false", "0 true"},
		'=': {"3 false", "0 true"}, '!': {"3 true", "1 true"}, '/': {"NaN true", "NaN true"}, '%': {"NaN true", "NaN true"},
	} {
		right := 2.0
		if op == '/' || op == '%' {
			right = 0
		}
		for i, returnBool := range []bool{false, true} {
			v, ok := (&BinaryExpr{Op: op, Bool: returnBool}).Apply(3, right)
			if got := fmt.Sprint(v, ok); got != row[i] {
				t.Errorf("%c, bool %v: %s, want %s", op, returnBool, got, row[i])
			}
		}
	}
}

// TestWhatCanBePushedDown: the three answers that tell the reader of the store what it need not do again.
func TestWhatCanBePushedDown(t *testing.T) {
	for stages, want := range map[string]string{
		"":                                     "[] true true",
		"|= ``":                                "[] true true",
		"|= `` | drop __error__":               "[] true true",
		"| drop __error__, __error_details__":  "[] true true",
		"| drop level":                         "[] false false",
		"| drop __error__, x=`y`":              "[] false false",
		"|= `a`":                               "[a] false true",
		"|= `a` |= `` |= `b`":                  "[a b] false true",
		"|= `a` or `b`":                        "[] false false",
		"|= `a` or ``":                         "[] true true",
		"|= `a` != `b`":                        "[a] false false",
		"|= `a` |~ `b`":                        "[a] false false",
		"|= `a` | json |= `b`":                 "[a b] false false",
		"|= `a` | line_format `{{.x}}` |= `b`": "[a] false false",
		"| keep x":                             "[] false false",
		"| label_format a=b":                   "[] false false",
		"| level=`x`":                          "[] false false",
		"| logfmt":                             "[] false false",
	} {
		e, err := Parse(`{a="b"} ` + stages)
		if err != nil {
			t.Fatal(err)
		}
		log := e.(*LogExpr)
		if got := fmt.Sprint(log.LineContains(), log.Simple(), log.OnlyContains()); got != want {
			t.Errorf("%s: %s, want %s", stages, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, q := range readVectors(f).Queries {
		f.Add(q.Query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		e, err := Parse(query)
		if err != nil {
			if !errors.Is(err, logbridge.ErrInvalid) || len(err.Error()) > 400 {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		text := e.String()
		again, err := Parse(text)
		if len(text) > maxQuery {
			return
		}
		if err != nil || again.String() != text {
			t.Fatalf("%q is written %q, which is %v, %v", query, text, again, err)
		}
	})
}
