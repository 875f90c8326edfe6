package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rowfall/replication/disk"
)

// settingsFile is the file to which CONFIG REWRITE writes the changes of CONFIG SET.
const settingsFile = "settings"

// SaveSettings writes the changes of ChangeSettings to the directory, for the next start. Without a
// change it writes nothing, because Sentinel also sends CONFIG REWRITE after REPLICAOF, whose
// change is durable already.
func (n *Node) SaveSettings() error {
	n.settings.mu.Lock()
	defer n.settings.mu.Unlock()
	if len(n.settings.changed) == 0 {
		return nil
	}
	return disk.WriteFile(n.c.FS, filepath.Join(n.c.Dir, settingsFile), func(f disk.File) error {
		_, err := f.WriteAt(n.settings.appendText(nil), 0)
		return err
	})
}

// appendText appends the content of the file: one line for each changed setting. The caller holds
// mu.
func (s *Settings) appendText(dst []byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(s.changed)) {
		dst = fmt.Appendf(dst, "%s %q\n", name, s.changed[name])
	}
	return dst
}

// loadSettings replaces values of the configuration by those that CONFIG REWRITE wrote.
func (n *Node) loadSettings() error {
	name := filepath.Join(n.c.Dir, settingsFile)
	b, err := disk.ReadFile(n.c.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = n.readSettings(string(b))
	}
	if err != nil {
		return fmt.Errorf("read settings %s: %w", name, err)
	}
	return nil
}

// readSettings sets the values of the file's text.
func (n *Node) readSettings(text string) error {
	const remedy = "correct it, or delete the file to use the configuration alone"
	for line := range strings.Lines(text) {
		key, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value, err := strconv.Unquote(quoted)
		at := slices.IndexFunc(settingTable, func(c setting) bool {
			return c.name == key && c.parse != nil
		})
		if err != nil || at < 0 {
			return fmt.Errorf("the line %q is not a setting and its value; %s", line, remedy)
		}
		apply, fault := settingTable[at].parse(n, value)
		if fault != "" {
			return fmt.Errorf("%s: %s; %s", key, fault, remedy)
		}
		apply()
		n.settings.changed[settingTable[at].key()] = value
		n.logger.Info().Str("name", key).Str("file", settingsFile).
			Msg("a setting of CONFIG REWRITE replaces that of the configuration")
	}
	return nil
}
