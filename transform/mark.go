package transform

import "slices"

// Mark is a place between two commands of Commands. The zero value is the beginning.
type Mark struct {
	// Bytes is the offset in Commands.Bytes.
	Bytes int

	// The numbers of commands, of rows and of deferred commands before the place. An offset alone
	// is no place: there may be several deferred commands at one offset.
	count, rows, deferred int
}

// Mark returns the present end of the commands.
func (u *Commands) Mark() Mark {
	return Mark{len(u.Bytes), u.Count, u.Rows, len(u.deferred)}
}

// Add returns the mark that lies behind m by the distance d.
func (m Mark) Add(d Mark) Mark {
	return Mark{m.Bytes + d.Bytes, m.count + d.count, m.rows + d.rows, m.deferred + d.deferred}
}

// Sub returns the distance from n to m. That is also what m becomes when all commands before n are
// removed.
func (m Mark) Sub(n Mark) Mark {
	return Mark{m.Bytes - n.Bytes, m.count - n.count, m.rows - n.rows, m.deferred - n.deferred}
}

// Truncate removes the commands behind m.
func (u *Commands) Truncate(m Mark) { u.Remove(m, u.Mark()) }

// Remove removes the commands between two marks. A later mark m of u becomes m.Sub(to.Sub(from)).
func (u *Commands) Remove(from, to Mark) {
	removed := to.Sub(from)
	u.Bytes = append(u.Bytes[:from.Bytes], u.Bytes[to.Bytes:]...)
	u.Count, u.Rows = u.Count-removed.count, u.Rows-removed.rows
	if len(u.deferred) == 0 {
		return
	}
	if removed.deferred > 0 {
		u.removeTexts(u.deferred[from.deferred:to.deferred])
	}
	for i := to.deferred; i < len(u.deferred); i++ {
		u.deferred[i].offset -= removed.Bytes
	}
	u.deferred = slices.Delete(u.deferred, from.deferred, to.deferred)
}

// removeTexts removes the texts of neighbouring deferred commands.
func (u *Commands) removeTexts(removed []splice) {
	from, to := removed[0].text, removed[len(removed)-1].textEnd()
	u.texts = append(u.texts[:from], u.texts[to:]...)
	for i := range u.deferred {
		if s := &u.deferred[i]; s.text >= to {
			s.text -= to - from
		}
	}
}

// AppendRange appends a copy of the commands of src between two marks.
func (u *Commands) AppendRange(src *Commands, from, to Mark) {
	u.appendDeferred(src, from, to)
	u.Bytes = append(u.Bytes, src.Bytes[from.Bytes:to.Bytes]...)
	d := to.Sub(from)
	u.Count, u.Rows = u.Count+d.count, u.Rows+d.rows
}

// MoveRange appends the commands of src between two marks, like AppendRange. The bytes of src must
// not be used afterwards: if they are many, u takes the buffer instead of a copy.
func (u *Commands) MoveRange(src *Commands, from, to Mark) {
	bytes := src.Bytes[from.Bytes:to.Bytes]
	if len(u.Bytes) > 0 || len(bytes) <= cap(u.Bytes) {
		u.AppendRange(src, from, to)
		return
	}
	u.appendDeferred(src, from, to)
	u.Bytes, src.Bytes = bytes, nil
	d := to.Sub(from)
	u.Count, u.Rows = u.Count+d.count, u.Rows+d.rows
}

// appendDeferred appends copies of the deferred commands of src between two marks, for bytes that
// are appended next.
func (u *Commands) appendDeferred(src *Commands, from, to Mark) {
	for i := from.deferred; i < to.deferred; i++ {
		s := src.deferred[i]
		text := src.texts[s.text:s.textEnd()]
		s.offset += len(u.Bytes) - from.Bytes
		s.text = len(u.texts)
		u.texts = append(u.texts, text...)
		u.deferred = append(u.deferred, s)
	}
}
