package file

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// filePrefix begins a reference to a file in a value.
const filePrefix = "${file:"

// missingVariableError is the fault of a variable that the environment does not have.
type missingVariableError struct{ name string }

func (e *missingVariableError) Error() string {
	return fmt.Sprintf("the environment has no %s; set it, or write the value here", e.name)
}

// expandVariables replaces ${VAR} by a variable of the environment and ${file:PATH} by the contents
// of a file. The YAML is parsed before, so that the replacement may contain any character. fault is
// called with each fault; a fault of a file names the file.
func expandVariables(
	text string, lookup func(name string) (string, bool), fault func(error),
) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			fault(errors.New("${ without }; close it"))
			return text
		}
		if path, ok := strings.CutPrefix(name, "file:"); ok {
			secret, err := os.ReadFile(path)
			if err != nil {
				fault(fmt.Errorf("read ${file:%s}: %w", path, err))
			}
			b.WriteString(strings.TrimRight(string(secret), "\r\n"))
		} else if s, ok := lookup(name); ok {
			b.WriteString(s)
		} else {
			fault(&missingVariableError{name})
		}
		text = after
	}
}
