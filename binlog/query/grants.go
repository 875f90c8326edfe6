package query

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// grant is a line of SHOW GRANTS that grants privileges on tables, or revokes them (MySQL's partial
// revokes).
type grant struct {
	revoked bool
	// privileges are the privileges on whole tables, in capitals: "SELECT", "REPLICATION SLAVE".
	// Privileges on columns, SELECT (`a`), are ignored.
	privileges []string
	// database and table are * or a name without quotes. A database may hold the wildcards % and _.
	database, table string
}

// has reports whether the grant is about a privilege.
func (g *grant) has(privilege string) bool {
	return slices.Contains(g.privileges, privilege) ||
		slices.Contains(g.privileges, "ALL PRIVILEGES")
}

// parseGrant reads a line of SHOW GRANTS. It returns false for a line that is not about tables.
//
//	GRANT SELECT, INSERT (`a`, `b`) ON `shop`.* TO `u`@`%` WITH GRANT OPTION
func parseGrant(line string) (grant, bool) {
	words := sqltext.Split(line)
	var g grant
	switch {
	case len(words) == 0:
		return g, false
	case words[0].Is("REVOKE"):
		g.revoked = true
	case !words[0].Is("GRANT"):
		return g, false
	}
	rest := g.parsePrivileges(words[1:])
	if len(rest) > 0 && rest[0].Is("TABLE") {
		rest = rest[1:]
	}
	if len(rest) < 4 || !rest[1].Is(".") || !rest[3].Is("TO") && !rest[3].Is("FROM") {
		return g, false // a grant on a procedure, of a proxy user, or of a role
	}
	for _, name := range []sqltext.Word{rest[0], rest[2]} {
		if name.Quoted == (name.Text == "*") {
			return g, false
		}
	}
	g.database, g.table = rest[0].Text, rest[2].Text
	return g, true
}

// parsePrivileges reads the privileges up to ON and returns the words after it. Column names,
// which are in parentheses, and role names are quoted.
func (g *grant) parsePrivileges(words []sqltext.Word) (rest []sqltext.Word) {
	depth, ofColumns := 0, false
	var privilege []string
	for i, w := range words {
		switch {
		case w.Is("("):
			depth++
			ofColumns = true
		case w.Is(")"):
			depth--
		case depth > 0:
		case w.Is(","), w.Is("ON"):
			if !ofColumns {
				g.privileges = append(g.privileges, strings.ToUpper(strings.Join(privilege, " ")))
			}
			privilege, ofColumns = privilege[:0], false
			if w.Is("ON") {
				return words[i+1:]
			}
		default:
			privilege = append(privilege, w.Text)
		}
	}
	return nil
}

// covers reports whether the grant covers every table of a pattern, in which * matches any text
// and ? for any character.
func (g *grant) covers(database, table string) bool {
	switch {
	case g.database == "*":
		return true
	case g.table == "*":
		return like(g.database, database)
	}
	return g.database == database && g.table == table
}

// like matches the database of a grant against a pattern of ours. In a grant, % and _ are wildcards
// and a backslash escapes them. A % also matches the pattern's *.
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

// mayRead reports whether the grants allow SELECT on every table of a pattern.
func mayRead(grants []grant, database, table string) bool {
	return may(grants, "SELECT", database, table)
}

// may reports whether the grants include a privilege on every table of a pattern.
func may(grants []grant, privilege, database, table string) bool {
	covered := false
	for _, g := range grants {
		if !g.has(privilege) {
			continue
		}
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

// CheckSelect returns a Problem for each pattern, as binlog.ParseTablePattern reads it, whose
// tables the user may not all read. A table without any privilege is invisible, so only the grants
// can show this. The error is about the connection, or about a pattern.
func CheckSelect(ctx context.Context, c *mysql.Conn, patterns ...string) ([]Problem, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	grants, err := readGrants(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("check grants: %w", err)
	}
	user, err := account(ctx, c)
	if err != nil {
		return nil, err
	}
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
		if mayRead(grants, database, table) {
			continue
		}
		on := "*.*"
		switch {
		case parsed.Database.IsWildcard():
		case parsed.Table.IsWildcard():
			on = sqltext.QuoteName(database) + ".*"
		default:
			on = sqltext.QuoteTable(database, table)
		}
		problems = append(problems, Problem{
			"the user may not read all of " + pattern, "GRANT SELECT ON " + on + " TO " + user,
		})
	}
	return problems, nil
}

// account returns the account of the connection, as GRANT names it.
func account(ctx context.Context, c *mysql.Conn) (string, error) {
	name, err := queryValue(ctx, c, "SELECT CURRENT_USER()")
	if err != nil {
		return "", fmt.Errorf("read the account: %w", err)
	}
	host := "%"
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		name, host = name[:at], name[at+1:]
	}
	return sqltext.QuoteName(name) + "@" + sqltext.QuoteName(host), nil
}

// readGrants reads SHOW GRANTS, with the grants of the active roles.
func readGrants(ctx context.Context, c *mysql.Conn) ([]grant, error) {
	s := c.Server()
	r, err := showGrants(ctx, c)
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

func showGrants(ctx context.Context, c *mysql.Conn) (*mysql.Result, error) {
	// MariaDB includes the active roles by itself.
	if s := c.Server(); s.Flavor == mysql.MySQL && s.AtLeast(8, 0, 0) {
		r, err := c.Query(ctx, "SELECT CURRENT_ROLE()")
		if err != nil {
			return nil, err
		}
		if roles := string(r.Rows[0][0]); roles != "NONE" {
			r, err = c.Query(ctx, "SHOW GRANTS FOR CURRENT_USER() USING "+roles)
			if !mysql.IsCode(err, mysql.CodeRoleNotGranted) {
				return r, err
			}
			// The role was revoked after the session began, so it grants nothing.
		}
	}
	return c.Query(ctx, "SHOW GRANTS")
}
