// Package file reads pipeline files: YAML into a Config, strictly, so that whatever
// is not understood is a fault with its line, its path and the nearest right name.
// It opens nothing but the files it is told of.
//
// document.go knows YAML and no key of ours, load.go knows the keys, config.go is
// what they become.
package file
