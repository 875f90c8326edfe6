// Package suggest finds the name that a user most likely meant by a misspelt one, for messages
// about pipeline files. Its callers are transform, template, expression and pipelines/file.
package suggest

import (
	"fmt"

	"rowfall/binlog"
)

// DidYouMean returns the end of an error message about an unknown name: `; did you mean "users"?`
// with the nearest candidate, or "" if no candidate is near.
func DidYouMean(name string, candidates []string) string {
	if near := Nearest(name, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// Nearest returns the candidate with the smallest edit distance from name, the first of several.
// It returns "" if every distance is larger than half the length of name in bytes. The case of
// ASCII letters does not count.
func Nearest(name string, candidates []string) string {
	name = binlog.FoldName(name)
	best, bestDistance := "", len(name)/2+1
	for _, c := range candidates {
		if d := distance(name, binlog.FoldName(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the bytes to insert, delete or replace, and the neighbours to swap, that turn a
// into b (the optimal string alignment distance).
func distance(a, b string) int {
	// Of the matrix of distances between prefixes, only the current row and the two above it exist.
	above2, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(above[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above2[j-2]+1)
			}
		}
		above2, above, row = above, row, above2
	}
	return above[len(b)]
}
