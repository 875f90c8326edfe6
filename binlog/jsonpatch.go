package binlog

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// With binlog_row_value_options=PARTIAL_JSON, MySQL logs an update of a JSON column as changes of
// the old value, if that is shorter. Each change is an operation (1 byte), a path such as
// $.a."b c"[3], and, unless it removes, a value in binary JSON. Path and value have length-encoded
// lengths.
//
// The old value becomes a tree in which only the containers on the paths are expanded. Everything
// else stays a range of the event's bytes, and is copied into the new value as it is.

// The operations of a change.
const (
	jsonReplace = 0
	jsonInsert  = 1
	jsonRemove  = 2
)

var errJSONChange = &RereadError{Cause: "a change of a JSON value does not fit the old value"}

// jsonNode is a value in a tree: a range of the patch's source, or an expanded container.
type jsonNode struct {
	kind       byte
	start, end uint32 // end is the end of the parent's bytes
	expanded   *jsonContainer
}

// jsonContainer is an array, or an object if it has keys.
type jsonContainer struct {
	isObject bool
	keys     [][]byte // sorted as MySQL sorts them: by length, then by bytes
	values   []jsonNode
}

// jsonPatch applies changes to one value.
type jsonPatch struct {
	source []byte
	root   jsonNode
	// budget is the number of bytes that may still be expanded, and copies the number of bytes that
	// may still be copied. In what a server writes, values never share bytes. In a hostile value, a
	// small part can be the content of many containers.
	budget, copies int
}

// appendPatchedJSON appends the binary JSON at a range of source, after the changes at another
// range, to dst.
func appendPatchedJSON(dst, source []byte, old, changes span) ([]byte, error) {
	if old.start == old.end {
		return dst, errJSONChange
	}
	size := int(old.end-old.start) + int(changes.end-changes.start)
	p := jsonPatch{source: source, budget: size, copies: 2 * size}
	p.root = jsonNode{kind: source[old.start], start: old.start + 1, end: old.end}
	at, end := int(changes.start), int(changes.end)
	for at < end {
		var err error
		if at, err = p.apply(at, end); err != nil {
			return dst, err
		}
	}
	return p.append(dst)
}

// apply applies the change at an offset of the source, and returns where the change ends.
func (p *jsonPatch) apply(at, end int) (int, error) {
	operation := p.source[at]
	path, at, ok := p.counted(at+1, end)
	if !ok || operation > jsonRemove {
		return 0, errJSON
	}
	var value jsonNode
	if operation != jsonRemove {
		var b span
		if b, at, ok = p.counted(at, end); !ok || b.start == b.end {
			return 0, errJSON
		}
		value = jsonNode{kind: p.source[b.start], start: b.start + 1, end: b.end}
	}
	legs, err := parseJSONPath(p.source[path.start:path.end])
	if err != nil {
		return 0, err
	}
	last := len(legs) - 1
	parent := &p.root
	for i := range legs {
		if err := p.expand(parent); err != nil {
			return 0, err
		}
		if i < last {
			k, found := parent.expanded.find(&legs[i])
			if !found {
				return 0, errJSONChange
			}
			parent = &parent.expanded.values[k]
		}
	}
	return at, parent.expanded.change(operation, &legs[last], value)
}

// counted reads a length at an offset, and returns the range of the bytes after it and their end.
func (p *jsonPatch) counted(at, end int) (content span, next int, ok bool) {
	n, rest, ok := lengthEncodedInt(p.source[at:end])
	if !ok || n > uint64(len(rest)) {
		return span{}, 0, false
	}
	start := end - len(rest)
	next = start + int(n)
	return span{uint32(start), uint32(next)}, next, true
}

// change changes a container at the last leg of a path.
func (c *jsonContainer) change(operation byte, leg *jsonLeg, value jsonNode) error {
	k, found := c.find(leg)
	switch {
	case leg.isMember != c.isObject:
		return errJSONChange
	case operation == jsonReplace && found:
		c.values[k] = value
	case operation == jsonRemove && found:
		c.values = slices.Delete(c.values, k, k+1)
		if c.isObject {
			c.keys = slices.Delete(c.keys, k, k+1)
		}
	case operation == jsonInsert && !c.isObject: // before a value, or after the last one
		c.values = slices.Insert(c.values, k, value)
	case operation == jsonInsert && !found:
		c.values = slices.Insert(c.values, k, value)
		c.keys = slices.Insert(c.keys, k, leg.member)
	default:
		return errJSONChange
	}
	return nil
}

// find looks up the value at a leg of a path. If found is set, k is the index of that value, else
// the index at which such a value would be inserted.
func (c *jsonContainer) find(leg *jsonLeg) (k int, found bool) {
	switch {
	case leg.isMember != c.isObject:
		return 0, false
	case c.isObject:
		return slices.BinarySearchFunc(c.keys, leg.member, compareJSONKeys)
	case leg.index >= uint64(len(c.values)) && leg.isFromEnd:
		return 0, false
	case leg.index >= uint64(len(c.values)):
		return len(c.values), false
	case leg.isFromEnd:
		return len(c.values) - 1 - int(leg.index), true
	}
	return int(leg.index), true
}

func compareJSONKeys(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

// expand makes a container of a value. See jsonWalk.container for the format.
func (p *jsonPatch) expand(n *jsonNode) error {
	if n.expanded != nil {
		return nil
	}
	if n.kind > jsonLargeArray {
		return errJSONChange // it is no container
	}
	b, head, err := jsonHead(n.kind, p.source[n.start:n.end])
	if err != nil {
		return err
	}
	if p.budget -= head.size; p.budget < 0 {
		return errJSON
	}
	c := &jsonContainer{isObject: head.isObject, values: make([]jsonNode, head.count)}
	if c.isObject {
		c.keys = make([][]byte, head.count)
	}
	entry := 2 * head.width
	for i := range c.keys {
		start := littleEndian(b[entry : entry+head.width])
		length := littleEndian(b[entry+head.width : entry+head.width+2])
		if start+length > uint64(len(b)) {
			return errJSON
		}
		c.keys[i] = b[start : start+length]
		entry += head.width + 2
	}
	for i := range c.values {
		v := &c.values[i]
		v.kind = b[entry]
		field := b[entry+1 : entry+1+head.width]
		start, end := uint64(entry+1), entry+1+head.width
		if !isInlineJSON(v.kind, head.width) {
			if start, end = littleEndian(field), len(b); start >= uint64(end) {
				return errJSON
			}
		}
		v.start, v.end = n.start+uint32(start), n.start+uint32(end)
		entry += 1 + head.width
	}
	n.expanded = c
	return nil
}

// isInlineJSON reports whether a value of this kind is in its entry, which has width bytes for it.
func isInlineJSON(kind byte, width int) bool {
	switch kind {
	case jsonLiteral, jsonInt16, jsonUint16:
		return true
	case jsonInt32, jsonUint32:
		return width == 4
	}
	return false
}

// jsonContainerHead describes the head of a container: count entries of keys and values. Numbers
// have width bytes. The head has size bytes.
type jsonContainerHead struct {
	isObject           bool
	width, count, size int
}

// jsonHead reads the head of the container at the start of b. It returns the container's bytes.
func jsonHead(kind byte, b []byte) ([]byte, jsonContainerHead, error) {
	h := jsonContainerHead{isObject: kind == jsonSmallObject || kind == jsonLargeObject, width: 2}
	if kind == jsonLargeObject || kind == jsonLargeArray {
		h.width = 4
	}
	if len(b) < 2*h.width {
		return nil, h, errJSON
	}
	count, size := littleEndian(b[:h.width]), littleEndian(b[h.width:2*h.width])
	entry := uint64(1 + h.width)
	if h.isObject {
		entry += uint64(h.width + 2)
	}
	head := uint64(2*h.width) + count*entry
	if size > uint64(len(b)) || head > size {
		return nil, h, errJSON
	}
	h.count, h.size = int(count), int(head)
	return b[:size], h, nil
}

// append appends the value to dst.
func (p *jsonPatch) append(dst []byte) ([]byte, error) {
	return p.appendValue(append(dst, p.root.outKind()), &p.root)
}

// outKind is the kind of the value as appendValue writes it.
func (n *jsonNode) outKind() byte {
	switch {
	case n.expanded == nil:
		return n.kind
	case n.expanded.isObject:
		return jsonLargeObject
	}
	return jsonLargeArray
}

// appendValue appends a value without its kind. Expanded containers are written in the large form.
func (p *jsonPatch) appendValue(dst []byte, n *jsonNode) ([]byte, error) {
	if n.expanded != nil {
		return p.appendContainer(dst, n.expanded)
	}
	b := p.source[n.start:n.end]
	size, err := jsonValueSize(n.kind, b)
	if err != nil {
		return dst, err
	}
	if p.copies -= size; p.copies < 0 {
		return dst, errJSON
	}
	return append(dst, b[:size]...), nil
}

func (p *jsonPatch) appendContainer(dst []byte, c *jsonContainer) ([]byte, error) {
	const width, keyEntry, valueEntry = 4, 6, 5
	base := len(dst)
	head := 2*width + valueEntry*len(c.values) + keyEntry*len(c.keys)
	dst = append(dst, make([]byte, head)...)
	put := func(at int, v int) { binary.LittleEndian.PutUint32(dst[base+at:], uint32(v)) }
	put(0, len(c.values))
	at := 2 * width
	for _, key := range c.keys {
		if p.copies -= len(key); p.copies < 0 || len(key) > 1<<16-1 {
			return dst, errJSON
		}
		put(at, len(dst)-base)
		binary.LittleEndian.PutUint16(dst[base+at+width:], uint16(len(key)))
		dst = append(dst, key...)
		at += keyEntry
	}
	for i := range c.values {
		v := &c.values[i]
		dst[base+at] = v.outKind()
		if v.expanded == nil && isInlineJSON(v.kind, width) {
			b := p.source[v.start:v.end]
			size, err := jsonValueSize(v.kind, b)
			if err != nil {
				return dst, err
			}
			copy(dst[base+at+1:base+at+1+width], b[:size])
		} else {
			put(at+1, len(dst)-base)
			var err error
			if dst, err = p.appendValue(dst, v); err != nil {
				return dst, err
			}
		}
		at += valueEntry
	}
	put(width, len(dst)-base)
	return dst, nil
}

// jsonValueSize returns the length of the value at the start of b.
func jsonValueSize(kind byte, b []byte) (int, error) {
	size := 0
	switch kind {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		content, _, err := jsonHead(kind, b)
		return len(content), err
	case jsonLiteral:
		size = 1
	case jsonInt16, jsonUint16:
		size = 2
	case jsonInt32, jsonUint32:
		size = 4
	case jsonInt64, jsonUint64, jsonDouble:
		size = 8
	case jsonString, jsonOpaque:
		if kind == jsonOpaque {
			size = 1
		}
		if len(b) < size {
			return 0, errJSON
		}
		w := jsonWalk{budget: len(b)}
		content, err := w.counted(b[size:])
		if err != nil {
			return 0, err
		}
		return size + jsonLengthSize(b[size:]) + len(content), nil
	default:
		return 0, errJSON
	}
	if len(b) < size {
		return 0, errJSON
	}
	return size, nil
}

// jsonLengthSize returns how many bytes the length at the start of b has, see jsonWalk.counted.
func jsonLengthSize(b []byte) int {
	n := 0
	for b[n]&0x80 != 0 {
		n++
	}
	return n + 1
}

// jsonLeg is a step of a path: to a member of an object or to an element of an array.
type jsonLeg struct {
	isMember bool
	member   []byte
	// index counts from the first element, or with isFromEnd from the last one, as in [last-1].
	index     uint64
	isFromEnd bool
}

// parseJSONPath reads a path as MySQL logs it: without wildcards, and not only "$".
func parseJSONPath(path []byte) (legs []jsonLeg, err error) {
	bad := fmt.Errorf("the path %q of a change of a JSON value is not understood; "+
		"please report it", Clip(path, maxQuoted))
	rest, found := bytes.CutPrefix(path, []byte{'$'})
	if !found || len(rest) == 0 {
		return nil, bad
	}
	for len(rest) > 0 {
		var leg jsonLeg
		ok := false
		switch rest[0] {
		case '[':
			rest, ok = leg.cutIndex(rest[1:])
		case '.':
			leg.isMember = true
			leg.member, rest, ok = cutMember(rest[1:])
		}
		if !ok || len(legs) > maxJSONDepth {
			return nil, bad
		}
		legs = append(legs, leg)
	}
	return legs, nil
}

// cutIndex reads the index of an element, N, last or last-N, and the bracket after it.
func (l *jsonLeg) cutIndex(b []byte) (rest []byte, ok bool) {
	text, rest, ok := bytes.Cut(b, []byte{']'})
	if !ok {
		return nil, false
	}
	if text, l.isFromEnd = bytes.CutPrefix(text, []byte("last")); l.isFromEnd {
		if len(text) == 0 {
			return rest, true
		}
		if text[0] != '-' {
			return nil, false
		}
		text = text[1:]
	}
	if len(text) > 10 {
		return nil, false
	}
	index, err := strconv.ParseUint(string(text), 10, 32)
	l.index = index
	return rest, err == nil
}

// cutMember reads the name of a member: a JSON string, or a name without quotes.
func cutMember(b []byte) (member, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		end := bytes.IndexAny(b, ".[")
		if end < 0 {
			end = len(b)
		}
		return b[:end], b[end:], end > 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			var name string
			if bytes.IndexByte(b[:i], '\\') < 0 {
				return b[1:i], b[i+1:], true
			}
			err := json.Unmarshal(b[:i+1], &name)
			return []byte(name), b[i+1:], err == nil
		}
	}
	return nil, nil, false
}
