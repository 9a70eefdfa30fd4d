package logbridge

import (
	"errors"
	"strings"
	"testing"
)

func TestSees(t *testing.T) {
	for _, row := range []struct {
		scope, stream string
		sees, in      bool
	}{
		{"", "device/ABCDE12345/d", true, true},
		{"", "audit", true, true},
		{"device/ABCDE12345", "device/ABCDE12345/d", true, true},
		{"device/ABCDE12345", "device/ABCDE12345", true, true},
		{"device/ABCDE12345", "device/ABCDE123456/d", false, false}, // a segment is whole
		{"device/ABCDE12345", "device", false, true},
		{"device/ABCDE12345", "device/OTHER12345/d", false, false},
		{"device/ABCDE12345", "audit", false, false},
		{"device/ABCDE12345", "", false, false},
		{"device/ABCDE12345/d", "device/ABCDE12345", false, true},
		{"device/ABCDE12345/d", "device/ABCDE12345/d2", false, false},
		{"sls/shop", "sls/shop/aa", true, true},
		{"sls/shop", "sls/shop-2/a", false, false},
		{"sls/shop/aa", "sls/shop/aa", true, true},
		{"sls/shop/aa", "sls/shop/bb", false, false},
		{"sls/shop/aa", "sls/shop", false, true},
		{"cls/topic-1", "cls/topic-1", true, true},
		{"cls/topic-1", "cls/topic-11", false, false},
		{"otlp/shop", "otlp/shop/cart", true, true},
		{"otlp/shop/cart", "otlp/shop/cart", true, true},
		{"otlp/shop/cart", "otlp/shop/cart2", false, false},
		{"cls/topic-1 sls/shop", "sls/shop/aa", true, true},
		{"cls/topic-1 sls/shop", "sls/other/a", false, false},
	} {
		token := Token{Scope: strings.Fields(row.scope)}
		if got := token.Sees(Stream(row.stream)); got != row.sees {
			t.Errorf("scope %q sees %s: %v", row.scope, row.stream, got)
		}
		if got := token.SeesIn(Stream(row.stream)); got != row.in {
			t.Errorf("scope %q sees in %s: %v", row.scope, row.stream, got)
		}
		if err := ValidateScope(token.Scope); err != nil {
			t.Errorf("scope %q: %v", row.scope, err)
		}
	}
}

func TestScopeIsChecked(t *testing.T) {
	for _, entry := range []string{"", "device/", "device/short", "device/ABCDE12345/", "device/ABCDE12345/a/b", "/sls", "sls//x1", "sls/../x", "sls/shop/a/b",
		"cls/topic/x", "otlp/", "otlp/a\n/b", "otlp/a/", "otlp/" + strings.Repeat("x", 129), "audit/x", "*", "loki/x", "device/ABCDE1234\xff"} {
		if err := ValidateScope([]string{"cls/topic-1", entry}); !errors.Is(err, ErrInvalid) || len(err.Error()) > 300 {
			t.Errorf("%q: %v", entry, err)
		}
	}
	for _, entry := range []string{"device", "sls", "cls", "otlp", "audit", "otlp/-/unknown_service", "otlp/" + strings.Repeat("x", 128)} {
		if err := ValidateScope([]string{entry}); err != nil {
			t.Errorf("%q: %v", entry, err)
		}
	}
	if err := ValidateScope(make([]string, MaxScope+1)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
