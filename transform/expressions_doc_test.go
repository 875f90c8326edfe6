package transform_test

import (
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/expr-lang/expr/parser/operator"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/dateformat"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

const expressionsPage = "../docs/expressions.md"

// page is docs/expressions.md: its tables by their first header, and the example row.
type page struct {
	tables      map[string][]pageRow
	table       *binlog.Table
	row, before *binlog.Row
}

// pageRow is a row of a table of the page: its cells by the header of their column.
type pageRow map[string]string

// code returns the texts in backquotes of a cell.
func code(cell string) []string {
	var out []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			out = append(out, part)
		}
	}
	return out
}

// plain returns a cell that is one text in backquotes, or text without backquotes.
func plain(cell string) string {
	if c := code(cell); len(c) == 1 && cell == "`"+c[0]+"`" {
		return c[0]
	}
	return cell
}

// cellsOf splits a line of a table at | without a backslash before.
func cellsOf(line string) []string {
	const bar = "\x00"
	line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, bar)
	cells := strings.Split(line, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], bar, "|"))
	}
	return cells
}

func readPage(t *testing.T) *page {
	t.Helper()
	text, err := os.ReadFile(expressionsPage)
	if err != nil {
		t.Fatal(err)
	}
	p := &page{tables: make(map[string][]pageRow)}
	var header []string
	for _, line := range strings.Split(string(text), "\n") {
		switch {
		case !strings.HasPrefix(line, "|"):
			header = nil
		case header == nil:
			header = cellsOf(line)
		case !strings.HasPrefix(line, "|---"):
			r := make(pageRow)
			for i, cell := range cellsOf(line) {
				r[header[i]] = cell
			}
			p.tables[header[0]] = append(p.tables[header[0]], r)
		}
	}
	p.readRow(t)
	return p
}

// readRow makes the example row from the table that describes it.
func (p *page) readRow(t *testing.T) {
	t.Helper()
	var definitions []string
	var now, before [][]byte
	cell := func(text string) []byte {
		text = plain(text)
		if text == "NULL" {
			return nil
		}
		if digits, ok := strings.CutPrefix(text, "0x"); ok {
			b, err := hex.DecodeString(digits)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		return []byte(text)
	}
	for _, r := range p.tables["Column"] {
		definitions = append(definitions, plain(r["Column"])+" "+plain(r["Type"]))
		now = append(now, cell(r["Value"]))
		old := r["Before"]
		if old == "" {
			old = r["Value"]
		}
		before = append(before, cell(old))
	}
	p.table = parseTable(t, "shop.orders: "+strings.Join(definitions, ";"))
	for i := range p.table.Columns {
		if c := &p.table.Columns[i]; c.Type == binlog.TypeDatetime {
			c.Decimals, c.Length = c.Length, 0
		}
	}
	p.row, p.before = textRow(p.table, now), textRow(p.table, before)
}

// evaluate returns the text of an example.
func (p *page) evaluate(source string, options ...expression.Option) (string, error) {
	program, err := expression.Compile(source, columns.New(p.table), options...)
	if err != nil {
		return "", err
	}
	var s expression.Scratch
	s.SetOld(p.before)
	text, null, err := program.AppendText(nil, &s, p.row)
	if null {
		return "nil", err
	}
	return string(text), err
}

// Each example of docs/expressions.md has the value that the page gives.
func TestExamplesOfPage(t *testing.T) {
	p := readPage(t)
	count := 0
	for _, name := range []string{"Operator", "Function", "Reference"} {
		for _, r := range p.tables[name] {
			source := plain(r["Example"])
			if source == "" {
				continue // a reference in a template
			}
			count++
			got, err := p.evaluate(source, expression.AllowOld)
			if want := plain(r["Value"]); got != want || err != nil {
				t.Errorf("%s: got %s, %v, want %s", source, got, err, want)
			}
			uses := code(r[name])[0]
			uses = strings.TrimPrefix(uses[:strings.IndexAny(uses+"(", "(. ")], "[from")
			uses = strings.TrimSuffix(uses, "to]")
			if !strings.Contains(source, uses) {
				t.Errorf("the example %s does not use %s", source, uses)
			}
		}
	}
	if count < 60 {
		t.Errorf("the page has only %d examples", count)
	}
}

// The page has every function and every filter, and no others.
func TestPageIsComplete(t *testing.T) {
	p := readPage(t)
	compare := func(what string, documented, exist []string) {
		t.Helper()
		for _, name := range exist {
			if !slices.Contains(documented, name) {
				t.Errorf("the page lacks the %s %s", what, name)
			}
		}
		for _, name := range documented {
			if !slices.Contains(exist, name) {
				t.Errorf("the page has the %s %s, which does not exist", what, name)
			}
		}
	}
	var functions, filters, specifiers []string
	calls := regexp.MustCompile(`(\w+)\(`)
	for _, r := range p.tables["Function"] {
		for _, m := range calls.FindAllStringSubmatch(r["Function"], -1) {
			functions = append(functions, m[1])
		}
	}
	compare("function", functions, expression.FunctionNames())
	for _, r := range p.tables["Filter"] {
		filters = append(filters, plain(r["Filter"]))
	}
	compare("filter", filters, template.FilterNames())
	for _, r := range p.tables["Specifiers"] {
		specifiers = append(specifiers, code(r["Specifiers"])...)
	}
	compare("specifier", specifiers, strings.Fields(dateformat.Specifiers()))
}

// The page has every operator of expr-lang that compiles with some operands, and no other.
func TestOperatorsOfPage(t *testing.T) {
	p := readPage(t)
	documented := make(map[string]bool)
	for _, r := range p.tables["Operator"] {
		for _, op := range code(r["Operator"]) {
			documented[op] = true
		}
	}
	operands := []string{
		"id", "total", "ratio", "name", "created", "opens", "true", "nickname", `"a"`,
		"[1]", "roles", "1..2", "upper()", `["a"]`,
	}
	compiles := func(op string) bool {
		for _, l := range operands {
			for _, r := range operands {
				if _, err := expression.Compile(l+" "+op+" "+r, columns.New(p.table)); err == nil {
					return true
				}
			}
		}
		return false
	}
	for op := range operator.Binary {
		if op == ".." { // it needs in before it
			continue
		}
		if got := compiles(op); got != documented[op] {
			t.Errorf("%s compiles: %v, it is on the page: %v", op, got, documented[op])
		}
	}
	for op := range operator.Unary {
		if !documented[op] {
			t.Errorf("the page lacks the operator %s", op)
		}
	}
}

// Each line of the page for users of SQL has SQL that is rejected, and an expression that compiles.
func TestSQLOfPage(t *testing.T) {
	p := readPage(t)
	for _, r := range p.tables["SQL"] {
		sql, accepted := plain(r["SQL"]), plain(r["Expression"])
		if _, err := expression.Compile(sql, columns.New(p.table)); err == nil ||
			!strings.Contains(err.Error(), "this is SQL; in an expression write ") {
			t.Errorf("%s: %v", sql, err)
		}
		if _, err := expression.Compile(accepted, columns.New(p.table)); err != nil {
			t.Errorf("%s: %v", accepted, err)
		}
	}
	if len(p.tables["SQL"]) < 10 {
		t.Errorf("the page has %d lines for users of SQL", len(p.tables["SQL"]))
	}
}

// Each template of the page prints what the page gives.
func TestTemplatesOfPage(t *testing.T) {
	p := readPage(t)
	scope := template.Scope{
		Columns: columns.New(p.table), Key: p.table.Primary, Value: true,
	}
	for _, r := range slices.Concat(p.tables["Reference"], p.tables["Filter"]) {
		if r["Template"] == "" {
			continue
		}
		compiled, err := scope.Parse(plain(r["Template"]))
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := compiled.Append(nil, p.row)
		if want := plain(r["Value"]); string(got) != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", r["Template"], got, err, want)
		}
	}
}
