package arena

// MapPages returns size bytes of zeroed memory. On Linux they are memory pages outside the Go heap,
// and size should be a multiple of the page size. It fails if the process has too many mappings.
func MapPages(size int) ([]byte, error) { return mapMemory(size) }

// UnmapPages returns memory of MapPages to the kernel and reports whether the addresses are
// unmapped, too. If they are not, the memory can be used again; its content is undefined.
func UnmapPages(m []byte) bool {
	if poisonAlways {
		poison(m)
	}
	return unmapMemory(m)
}
