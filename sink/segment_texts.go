package sink

import "sort"

// texts is a page of texts in one piece.
type texts struct {
	data    []byte
	offsets []uint32 // begin of each text, and the end of the last one
}

func (t *texts) reset() { t.data, t.offsets = t.data[:0], append(t.offsets[:0], 0) }

func (t *texts) add(b []byte) {
	t.data = append(t.data, b...)
	t.offsets = append(t.offsets, uint32(len(t.data)))
}

// addAll adds the texts [from, to) of another page.
func (t *texts) addAll(o *texts, from, to int) {
	shift := uint32(len(t.data)) - o.offsets[from]
	t.data = append(t.data, o.data[o.offsets[from]:o.offsets[to]]...)
	for _, end := range o.offsets[from+1 : to+1] {
		t.offsets = append(t.offsets, end+shift)
	}
}

// room is how many texts of another page, from one on, can be added until this one is full, at least one.
func (t *texts) room(o *texts, from int) int {
	most := min(len(o.offsets)-1-from, textPageRows-t.len())
	left := uint32(max(textPage-len(t.data), 1))
	return 1 + sort.Search(most-1, func(i int) bool { return o.offsets[from+i+1]-o.offsets[from] >= left })
}

func (t *texts) len() int { return len(t.offsets) - 1 }

func (t *texts) at(i int) []byte { return t.data[t.offsets[i]:t.offsets[i+1]] }

func (t *texts) full() bool { return len(t.data) >= textPage || t.len() >= textPageRows }

// attrRows is a page of attributes: keys and values, and for each row how many it has.
type attrRows struct {
	keys, values texts
	counts       []uint32
}

func (a *attrRows) reset() {
	a.keys.reset()
	a.values.reset()
	a.counts = a.counts[:0]
}

func (a *attrRows) full() bool {
	return len(a.values.data) >= textPage || len(a.keys.data) >= textPage || len(a.counts) >= attrPageRows
}
