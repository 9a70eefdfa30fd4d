package loose

import (
	"fmt"
	"testing"

	"github.com/logbridge/logbridge"
)

func TestRoomSizes(t *testing.T) {
	for _, want := range []struct{ events, fields int }{{0, 0}, {1, 10}, {8, 64}, {9, 0}, {10, 103}, {100, 1200}, {512, 4096}, {513, 1}, {1, 4097}, {4096, 1 << 18}} {
		r := NewRoom(want.events, want.fields)
		if cap(r.Events) < want.events || cap(r.Fields) < want.fields || len(r.Events)+len(r.Fields) > 0 {
			t.Errorf("%+v: room for %d and %d", want, cap(r.Events), cap(r.Fields))
		}
		most := 2 * max(want.events, (want.fields+roomFields-1)/roomFields, smallRoom/2)
		if cap(r.Events) > most || cap(r.records) > most || cap(r.Fields) > most*roomFields {
			t.Errorf("%+v: room for %d, %d and %d", want, cap(r.Events), cap(r.records), cap(r.Fields))
		}
		r.Release()
	}
}

// What waits for a request holds nothing of another's, and two that are there together never have the same.
func TestRoomReleased(t *testing.T) {
	fill := func(r *Room, name string, events int) []logbridge.Record {
		for range events {
			at := len(r.Fields)
			r.Fields = append(r.Fields, logbridge.Attr{Key: "name", Value: name}, logbridge.Attr{})
			r.Events = append(r.Events, Event{Fields: r.Fields[at : at+1 : at+2]})
		}
		return Records(r, r.Events, logbridge.Record{Body: name}, []logbridge.Attr{{Key: "common", Value: name}}, false)
	}
	for round := range 50 {
		for _, events := range []int{1, 10, 40} { // the room is made for 10
			a, b := NewRoom(10, 20), NewRoom(10, 20)
			for _, r := range []*Room{a, b} {
				for _, f := range r.Fields[:cap(r.Fields)] {
					if f != (logbridge.Attr{}) {
						t.Fatalf("%+v is left of another request", f)
					}
				}
				for i := range r.Events[:cap(r.Events)] {
					if r.Events[:cap(r.Events)][i].Fields != nil {
						t.Fatal("an event is left of another request")
					}
				}
				for _, rec := range r.records[:cap(r.records)] {
					if rec.Body != "" || rec.Attributes != nil {
						t.Fatalf("%+v is left of another request", rec)
					}
				}
			}
			names := []string{fmt.Sprint("a", round), fmt.Sprint("b", round)}
			all := [][]logbridge.Record{fill(a, names[0], events), fill(b, names[1], events)}
			for i, records := range all {
				for _, rec := range records {
					if rec.Body != names[i] || fmt.Sprint(rec.Attributes) != fmt.Sprintf("[{name %s} {common %s}]", names[i], names[i]) {
						t.Fatalf("%s: %+v", names[i], rec)
					}
				}
			}
			a.Release()
			b.Release()
		}
	}
	var none *Room
	none.Release()
	if len(fill(&Room{}, "x", 3)) != 3 || len(Records(nil, make([]Event, 3), logbridge.Record{}, nil, false)) != 3 {
		t.Error("without a room there are no records")
	}
}
