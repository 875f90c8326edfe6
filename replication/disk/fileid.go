package disk

import "os"

// IDAt returns the ID of the file at path.
func IDAt(fsys FS, path string) (string, error) {
	f, err := fsys.Open(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	return ID(f), nil
}
