package ddl

import "regexp"

var (
	referencesPattern = regexp.MustCompile(`(?i)\bREFERENCES\b`)
	cascadePattern    = regexp.MustCompile(
		`(?i)\bON\s+(DELETE|UPDATE)\s+(CASCADE|SET\s+(NULL|DEFAULT))\b`)
)

// AddedCascades returns how many foreign keys a statement may add; 0 if none of them has a cascade.
// It examines the text, so that it also counts keys of statements that Parse does not understand.
func AddedCascades(sql string) int {
	if !cascadePattern.MatchString(sql) {
		return 0
	}
	return len(referencesPattern.FindAllStringIndex(sql, -1))
}
