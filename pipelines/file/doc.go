// Package file reads pipeline files: it parses YAML into a Config, strictly. A fault has its line,
// its path and the nearest correct name. The package opens the pipeline file and the files that the
// pipeline file names, and no others.
//
// document.go and syntax.go read YAML without knowledge of a pipeline file's keys. load.go and
// mapping.go read the keys into the types of config.go, and node.go has the settings of a node as a
// table, which the flags of `rowfall node` share. values.go has the types of scalar settings, each
// with its check. locate.go adds the place in the file to faults that are found later, files.go
// checks the files that a pipeline file names, and together.go checks several pipeline files.
// variables.go replaces ${VARIABLE} and ${file:PATH}. misplaced.go, other_names.go and quotes.go
// have one kind of hint each: for a key at a wrong place, a key of another program, and missing
// quotes.
// The package has more files than most, because each kind of hint has its own.
package file
