package keyspace

// match reports whether all of s matches a Redis glob pattern: * any bytes, ? one byte, [a-c^] one
// of a class, \ the next byte literally. It takes at most time proportional to the product of the
// lengths, whatever the pattern.
func match(pattern, s []byte) bool {
	p, i := 0, 0
	star, retry := -1, 0 // position after the last *, and where s is tried next
	for {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			p++
			star, retry = p, i
			continue
		case i == len(s) && p == len(pattern):
			return true
		case i < len(s) && p < len(pattern):
			if n, ok := matchByte(pattern[p:], s[i]); ok {
				p += n
				i++
				continue
			}
		}
		if star < 0 || retry >= len(s) {
			return false
		}
		retry++
		p, i = star, retry
	}
}

// matchByte matches c with the first element of a pattern, which must not be *, and returns the
// length of that element.
func matchByte(pattern []byte, c byte) (n int, ok bool) {
	switch {
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '[':
		return matchClass(pattern, c)
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	}
	return 1, pattern[0] == c
}

// matchClass matches a class. A class without a closing bracket extends to the end of the pattern.
func matchClass(pattern []byte, c byte) (n int, ok bool) {
	i := 1
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	for i < len(pattern) && pattern[i] != ']' {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			ok = ok || pattern[i] == c
		case i+2 < len(pattern) && pattern[i+1] == '-':
			lo, hi := pattern[i], pattern[i+2]
			ok = ok || c >= min(lo, hi) && c <= max(lo, hi)
			i += 2
		default:
			ok = ok || pattern[i] == c
		}
		i++
	}
	if i < len(pattern) {
		i++
	}
	return i, ok != not
}
