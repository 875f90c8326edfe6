package node

import (
	"maps"
	"slices"
	"strings"
)

// SettingValue is one parameter of CONFIG and its value.
type SettingValue struct{ Name, Value string }

// SettingError is returned by ChangeSettings when a name or value is invalid. Nothing was changed.
type SettingError struct {
	Name    string // as it was given
	Unknown bool   // no setting has this name
	Reason  string // why the value is invalid
}

func (e *SettingError) Error() string {
	if e.Unknown {
		return "change setting " + e.Name + ": no setting has this name"
	}
	return "change setting " + e.Name + ": " + e.Reason
}

// Settings returns the values that CONFIG SET may change.
func (n *Node) Settings() *Settings { return n.settings }

// FindSettings returns the settings whose lower-case names match, in a fixed order.
func (n *Node) FindSettings(match func(name string) bool) (found []SettingValue) {
	for _, c := range settingTable {
		if match(c.name) {
			found = append(found, SettingValue{c.name, c.get(n)})
		}
	}
	return found
}

// ChangeSettings sets all values. If one of them is invalid, it sets none and returns a
// *SettingError. Names match in any case. A fixed setting may be set to the value that it has.
func (n *Node) ChangeSettings(values []SettingValue) error {
	var all []func()
	changed := map[string]string{}
	for _, v := range values {
		name := strings.ToLower(v.Name)
		at := slices.IndexFunc(settingTable, func(c setting) bool { return c.name == name })
		if at < 0 {
			return &SettingError{Name: v.Name, Unknown: true}
		}
		c := settingTable[at]
		if c.parse == nil {
			if v.Value != c.get(n) {
				return &SettingError{Name: v.Name, Reason: "can't set immutable config"}
			}
			continue
		}
		apply, fault := c.parse(n, v.Value)
		if fault != "" {
			return &SettingError{Name: v.Name, Reason: fault}
		}
		all, changed[c.key()] = append(all, apply), v.Value
	}
	for _, apply := range all {
		apply()
	}
	n.settings.mu.Lock()
	maps.Copy(n.settings.changed, changed)
	n.settings.mu.Unlock()
	n.updateReadGate()
	return nil
}
