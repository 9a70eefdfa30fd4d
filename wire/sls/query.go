package sls

import (
	"strings"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// apiVersion is the one version there is (1, 4.2).
const apiVersion = "0.6.0"

// keyVersion is its name in a query.
const keyVersion = "APIVersion"

// CheckVersion checks the API version of a request: one of the header x-log-apiversion and the query's APIVersion must be
// there, since the browser SDK sends only the latter, and be 0.6.0 (1, 4.2). *Error MissingAPIVersion or InvalidAPIVersion.
func CheckVersion(header, query string) error {
	for _, v := range [...]string{header, query} {
		if v != "" && v != apiVersion {
			return InvalidAPIVersion(v)
		}
	}
	if header == "" && query == "" {
		return MissingAPIVersion()
	}
	return nil
}

// DecodeQuery reads the GET forms (4.5): one log whose fields are the query's pairs in their order (loose.Query). APIVersion
// must be there and is left out; __topic__ and __source__ are the group's. Without a field there is no log. *Error as
// CheckVersion, or PostBodyTooLarge beyond MaxQuery.
func DecodeQuery(rawQuery string) (Group, error) {
	if len(rawQuery) > MaxQuery {
		return Group{}, tooLarge("Query size", len(rawQuery), MaxQuery)
	}
	var (
		g       Group
		version string
		fields  = make([]logbridge.Attr, 0, strings.Count(rawQuery, "&")+1)
	)
	for key, value := range loose.Query(rawQuery) {
		switch key {
		case keyVersion:
			version = value
		case keyTopic:
			g.Topic = value
		case keySource:
			g.Source = value
		default:
			fields = append(fields, logbridge.Attr{Key: key, Value: value})
		}
	}
	if err := CheckVersion("", version); err != nil {
		return Group{}, err
	}
	if len(fields) > 0 {
		g.Logs = []Log{{Fields: fields}}
	}
	return g, nil
}
