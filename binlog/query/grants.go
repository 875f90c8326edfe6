package query

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// grant is a line of SHOW GRANTS that gives SELECT on whole tables, or takes it
// (MySQL's partial revokes).
type grant struct {
	revoked         bool
	database, table string // as the line has them, * or a name without quotes
}

// grantName is a name in a grant, grantRights are what stands before or behind
// SELECT: names of columns are whole in it, since they may hold anything.
const (
	grantName   = "`(?:[^`]|``)+`"
	grantRights = "(?:[^`]|" + grantName + ")*"
)

// selectGrant finds such a line; SELECT on some columns, SELECT (`a`), is none.
var selectGrant = regexp.MustCompile("^(GRANT|REVOKE) (?:ALL PRIVILEGES|(?:" + grantRights + ", )?SELECT(?:, " + grantRights + ")?) ON (?:TABLE )?" +
	"(\\*|" + grantName + ")\\.(\\*|" + grantName + ") (?:TO|FROM) ")

func parseGrant(line string) (grant, bool) {
	m := selectGrant.FindStringSubmatch(line)
	if m == nil {
		return grant{}, false
	}
	unquote := func(s string) string {
		if s == "*" {
			return s
		}
		return strings.ReplaceAll(s[1:len(s)-1], "``", "`")
	}
	return grant{revoked: m[1] == "REVOKE", database: unquote(m[2]), table: unquote(m[3])}, true
}

// covers says whether the grant reaches every table of a pattern, in which * and
// ? stand for any text and any letter.
func (g grant) covers(database, table string) bool {
	switch {
	case g.database == "*":
		return true
	case g.table == "*":
		return like(g.database, database)
	}
	return g.database == database && g.table == table
}

// like matches a database of a grant, where % and _ are wildcards and \ makes
// them letters, against a pattern of ours: what % stands for may hold a * of it.
func like(granted, pattern string) bool {
	var re strings.Builder
	for i := 0; i < len(granted); i++ {
		switch c := granted[i]; {
		case c == '\\' && i+1 < len(granted):
			i++
			re.WriteString(regexp.QuoteMeta(granted[i : i+1]))
		case c == '%':
			re.WriteString(".*")
		case c == '_':
			re.WriteString("[^*]")
		default:
			re.WriteString(regexp.QuoteMeta(granted[i : i+1]))
		}
	}
	return matches(re.String(), pattern)
}

func matches(re, text string) bool {
	ok, err := regexp.MatchString("^(?s:"+re+")$", text)
	return err == nil && ok
}

// readable says whether the grants reach every table of a pattern.
func readable(grants []grant, database, table string) bool {
	covered := false
	for _, g := range grants {
		if !g.revoked {
			covered = covered || g.covers(database, table)
			continue
		}
		pattern := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(database))
		if matches(pattern, g.database) {
			return false
		}
	}
	return covered
}

// checkSelect finds what the user may not read of the tables that patterns name. A
// table without SELECT looks as if it did not exist, so it is the grants that are
// asked: of a wildcard, whoever sees some tables must see all.
func checkSelect(ctx context.Context, c *mysql.Conn, patterns []string) ([]Problem, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	grants, err := readGrants(ctx, c)
	if err != nil {
		return nil, err
	}
	r, err := c.Query(ctx, "SELECT CURRENT_USER()")
	if err != nil {
		return nil, err
	}
	account := string(r.Rows[0][0])
	at := strings.LastIndexByte(account, '@')
	if at < 0 {
		at = len(account)
		account += "@%"
	}
	user := identifier(account[:at]) + "@" + identifier(account[at+1:])
	var problems []Problem
	fold := c.Server().LowerCaseNames != 0
	for _, pattern := range patterns {
		parsed, err := binlog.ParseTablePattern(pattern)
		if err != nil {
			return nil, fmt.Errorf("pattern %q %w", pattern, err)
		}
		database, table := parsed.Database.Plain(), parsed.Table.Plain()
		if fold {
			database, table = strings.ToLower(database), strings.ToLower(table)
		}
		if readable(grants, database, table) {
			continue
		}
		on := "*.*"
		switch {
		case parsed.Database.IsWildcard():
		case parsed.Table.IsWildcard():
			on = identifier(database) + ".*"
		default:
			on = identifier(database) + "." + identifier(table)
		}
		problems = append(problems, Problem{"the user may not read all of " + pattern, "GRANT SELECT ON " + on + " TO " + user})
	}
	return problems, nil
}

// readGrants reads what SHOW GRANTS says of SELECT, the roles in use included.
func readGrants(ctx context.Context, c *mysql.Conn) ([]grant, error) {
	sql := "SHOW GRANTS"
	s := c.Server()
	if s.Flavor == mysql.MySQL && s.AtLeast(8, 0, 0) { // MariaDB includes them by itself
		r, err := c.Query(ctx, "SELECT CURRENT_ROLE()")
		if err != nil {
			return nil, err
		}
		if roles := string(r.Rows[0][0]); roles != "NONE" {
			sql = "SHOW GRANTS FOR CURRENT_USER() USING " + roles
		}
	}
	r, err := c.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	var grants []grant
	for _, row := range r.Rows {
		g, ok := parseGrant(string(row[0]))
		if !ok {
			continue
		}
		if s.LowerCaseNames != 0 {
			g.database, g.table = strings.ToLower(g.database), strings.ToLower(g.table)
		}
		grants = append(grants, g)
	}
	return grants, nil
}
