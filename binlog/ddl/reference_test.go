package ddl_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver"

	"rowfall/binlog/ddl"
)

// TestReference compares the corpus with another parser, as far as that accepts the statements.
func TestReference(t *testing.T) {
	accepted, all := 0, 0
	p := parser.New()
	for _, section := range readCorpus(t) {
		if !section.mysql {
			continue
		}
		mode := mysql.SQLMode(mysql.ModeNone)
		for _, m := range section.mode {
			mode |= mysql.Str2SQLMode[m]
		}
		p.SetSQLMode(mode)
		for _, line := range section.statements {
			all++
			reference, err := p.ParseOneStmt(line.sql, "", "")
			// The reference accepts a table without columns, and takes a backslash in a name in
			// double quotes for an escape. Real servers reject the one and store the other.
			if err != nil || line.expect == "unknown" || strings.Contains(line.sql, `"c\d"`) {
				continue
			}
			accepted++
			s := ddl.Parse(line.sql, section.options(false, 0))
			if got, want := outline(s), referenceOutline(reference); want != "" && got != want {
				t.Errorf("%s: got %s, want %s: %s", line.place, got, want, line.sql)
			}
		}
	}
	t.Logf("%d of %d statements compared", accepted, all)
	if accepted*2 < all {
		t.Errorf("%d of %d statements compared, want half", accepted, all)
	}
}

// outline returns the action, the tables and the columns of a statement.
func outline(s *ddl.Statement) string {
	words := []string{s.Action.String()}
	for _, n := range s.Tables {
		if s.Action != ddl.Other {
			words = append(words, n.String())
		}
	}
	for _, c := range s.Changes {
		switch c.Kind {
		case ddl.AddColumn:
			words = append(words, "+"+c.Column.Name)
		case ddl.ModifyColumn:
			words = append(words, c.Name+">"+c.Column.Name)
		case ddl.DropColumn:
			words = append(words, "-"+c.Name)
		case ddl.RenameColumn:
			words = append(words, c.Name+">"+c.NewName)
		}
	}
	return strings.ToLower(strings.Join(words, " "))
}

// referenceOutline returns the same for a statement of the reference; "" if outline has no such
// action.
func referenceOutline(node ast.StmtNode) string {
	name := func(n *ast.TableName) string {
		if n.Schema.O == "" {
			return database + "." + n.Name.O
		}
		return n.Schema.O + "." + n.Name.O
	}
	var words []string
	switch n := node.(type) {
	case *ast.CreateTableStmt:
		words = []string{"create table", name(n.Table)}
		for _, c := range n.Cols {
			words = append(words, "+"+c.Name.Name.O)
		}
	case *ast.AlterTableStmt:
		words = append([]string{"alter table", name(n.Table)}, referenceChanges(n)...)
	case *ast.CreateIndexStmt:
		words = []string{"alter table", name(n.Table)}
	case *ast.DropIndexStmt:
		words = []string{"alter table", name(n.Table)}
	case *ast.RenameTableStmt:
		words = []string{"rename table"}
		for _, pair := range n.TableToTables {
			words = append(words, name(pair.OldTable), name(pair.NewTable))
		}
	case *ast.DropTableStmt:
		if n.IsView {
			return "other"
		}
		words = []string{"drop table"}
		for _, table := range n.Tables {
			words = append(words, name(table))
		}
	case *ast.TruncateTableStmt:
		words = []string{"truncate table", name(n.Table)}
	case *ast.CreateDatabaseStmt:
		words = []string{"create database"}
	case *ast.AlterDatabaseStmt:
		words = []string{"alter database"}
	case *ast.DropDatabaseStmt:
		words = []string{"drop database"}
	case *ast.CreateViewStmt, *ast.CreateUserStmt, *ast.GrantStmt, *ast.RevokeStmt:
		words = []string{"other"}
	}
	return strings.ToLower(strings.Join(words, " "))
}

func referenceChanges(n *ast.AlterTableStmt) []string {
	var words []string
	for _, spec := range n.Specs {
		switch spec.Tp {
		case ast.AlterTableAddColumns:
			for _, c := range spec.NewColumns {
				words = append(words, "+"+c.Name.Name.O)
			}
		case ast.AlterTableModifyColumn:
			c := spec.NewColumns[0].Name.Name.O
			words = append(words, c+">"+c)
		case ast.AlterTableChangeColumn:
			words = append(words, spec.OldColumnName.Name.O+">"+spec.NewColumns[0].Name.Name.O)
		case ast.AlterTableDropColumn:
			words = append(words, "-"+spec.OldColumnName.Name.O)
		case ast.AlterTableRenameColumn:
			words = append(words, spec.OldColumnName.Name.O+">"+spec.NewColumnName.Name.O)
		}
	}
	return slices.Clip(words)
}
