// Package file reads pipeline files: YAML into a Config, strictly, so that whatever
// is not understood is a fault with its line, its path and the nearest right name.
// It opens nothing but the files it is told of.
//
// document.go and syntax.go know YAML and no key of a pipeline file, load.go knows the keys,
// config.go is what they become. locate.go names the place of a fault that is found later, files.go
// checks the files that a pipeline file names.
package file
