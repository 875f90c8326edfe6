package ddl

import (
	"strings"
)

// ColumnDef is the definition of a column as a statement has it. What the statement leaves out
// depends on the table.
type ColumnDef struct {
	Name          string
	typ           dataType
	charset       charsetClause
	null, notNull bool
	// value is the text of the default, empty without DEFAULT.
	value         string
	autoIncrement bool
	invisible     bool
	// generated is the expression of a generated column.
	generated string
	stored    bool
	// keys are the PRIMARY KEY and UNIQUE of the column, in the order of the text.
	keys []KeyKind
	// unfollowed is the reason why a table with this column cannot be followed.
	unfollowed string
}

// columnDef reads a column's name, type and attributes.
func (p *parser) columnDef() *ColumnDef {
	d := &ColumnDef{Name: p.columnName()}
	d.typ = p.dataType(&d.charset)
	switch d.typ.base {
	case "serial":
		d.typ = dataType{base: "bigint", unsigned: true}
		p.o.completeInteger(&d.typ)
		d.notNull, d.autoIncrement, d.keys = true, true, []KeyKind{UniqueKey}
	case "mariadb json":
		d.typ = dataType{base: "longtext"}
		d.charset = charsetClause{charset: "utf8mb4", collation: "utf8mb4_bin"}
	}
	for !p.done() && !p.peek().is(",") && !p.peek().is(")") && p.columnAttribute(d) {
		continue
	}
	return d
}

// columnName reads the name of a column. MySQL allows the table's name in front of it.
func (p *parser) columnName() string {
	name := p.name()
	for p.accept(".") {
		name = p.name()
	}
	return name
}

// columnAttribute reads one attribute, and reports whether there was one.
func (p *parser) columnAttribute(d *ColumnDef) bool {
	switch {
	case p.accept("NOT", "NULL"):
		d.notNull, d.null = true, false
	case p.accept("NULL"):
		d.null, d.notNull = true, false
	case p.accept("DEFAULT"):
		d.value = p.defaultValue()
	case p.accept("ON", "UPDATE"):
		p.defaultValue()
	case p.accept("AUTO_INCREMENT"):
		d.autoIncrement = true
	case p.accept("SERIAL", "DEFAULT", "VALUE"):
		d.notNull, d.autoIncrement = true, true
		d.keys = append(d.keys, UniqueKey)
	case p.accept("PRIMARY", "KEY"), p.accept("PRIMARY"), p.accept("KEY"):
		d.keys = append(d.keys, PrimaryKey)
	case p.accept("UNIQUE"):
		p.accept("KEY")
		d.keys = append(d.keys, UniqueKey)
	case p.accept("COMMENT"):
		p.nameOrString()
	case p.charsetOption(&d.charset):
	case p.accept("INVISIBLE"):
		d.invisible = true
	case p.accept("VISIBLE"):
		d.invisible = false
	case p.accept("GENERATED", "ALWAYS", "AS"), p.accept("AS"):
		p.generatedColumn(d)
	case p.accept("REFERENCES"):
		p.references()
	case p.accept("CHECK"):
		p.group()
	case p.accept("CONSTRAINT"):
		if !p.peek().is("CHECK") {
			p.name()
		}
		p.expect("CHECK")
		p.group()
	case p.accept("ENFORCED"), p.accept("NOT", "ENFORCED"), p.accept("NOT", "SECONDARY"):
	case p.accept("WITH", "SYSTEM", "VERSIONING"), p.accept("WITHOUT", "SYSTEM", "VERSIONING"):
		d.unfollowed = systemVersioned
	default:
		return p.columnOption()
	}
	return true
}

// columnOption reads an option that does not matter here. MariaDB's engines define options of any
// name, with "=" and a value.
func (p *parser) columnOption() bool {
	if p.acceptAny("COLUMN_FORMAT", "STORAGE", "SRID") {
		p.next()
		return true
	}
	if p.acceptAny("ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE") {
		p.accept("=")
		p.next()
		return true
	}
	if p.peek().isName() && p.peekAt(1).is("=") {
		p.next()
		p.next()
		p.skip()
		return true
	}
	return false
}

// generatedColumn reads the expression of a generated column and how it is stored.
func (p *parser) generatedColumn(d *ColumnDef) {
	if p.accept("ROW", "START") || p.accept("ROW", "END") {
		d.unfollowed = systemVersioned
		return
	}
	d.generated = p.group()
	if p.acceptAny("STORED", "PERSISTENT") {
		d.stored = true
	} else {
		p.accept("VIRTUAL")
	}
}

// references reads the table and the actions of a foreign key.
func (p *parser) references() {
	p.tableName()
	if p.peek().is("(") {
		p.group()
	}
	for !p.done() {
		switch {
		case p.accept("MATCH"):
			p.next()
		case p.accept("ON", "DELETE"), p.accept("ON", "UPDATE"):
			switch {
			case p.accept("SET"), p.accept("NO"):
				p.next()
			case p.acceptAny("RESTRICT", "CASCADE"):
			default:
				p.failHere("expected an action of a foreign key")
			}
		default:
			return
		}
	}
}

// defaultValue reads a literal, a function or an expression in parentheses and returns its text.
func (p *parser) defaultValue() string {
	start := p.at
	for p.accept("-") || p.accept("+") {
		continue
	}
	switch first := p.peek(); {
	case first.is("("):
		p.group()
	case first.kind == tokenString:
		for p.peek().kind == tokenString {
			p.next()
		}
	case first.is("CASE"):
		p.caseExpression()
	case p.accept("NEXT", "VALUE", "FOR"), p.accept("PREVIOUS", "VALUE", "FOR"):
		p.tableName()
	case first.is("."), isDigit(first):
		p.numberLiteral()
	case first.isName():
		p.word()
	default:
		p.failHere("expected a default")
	}
	if p.err != nil {
		return ""
	}
	return join(p.tokens[start:p.at])
}

func isDigit(t token) bool { return t.kind == tokenWord && t.text[0] >= '0' && t.text[0] <= '9' }

// numberLiteral reads a number such as 1, 1.5, .5 or 1e-3, which is one to five tokens.
func (p *parser) numberLiteral() {
	last := token{}
	if isDigit(p.peek()) {
		last = p.next()
	}
	if p.accept(".") && isDigit(p.peek()) {
		last = p.next()
	}
	isHex := strings.HasPrefix(strings.ToLower(last.text), "0x")
	if !isHex && strings.HasSuffix(strings.ToLower(last.text), "e") && isDigit(p.peekAt(1)) &&
		p.acceptAny("+", "-") {
		p.next()
	}
}

// word reads a constant, a function with its arguments, or a string with its character set.
func (p *parser) word() {
	p.next()
	for p.accept(".") {
		p.name()
	}
	switch {
	case p.peek().is("("):
		p.group()
	case p.peek().kind == tokenString:
		for p.peek().kind == tokenString {
			p.next()
		}
	}
}

// caseExpression reads CASE ... END.
func (p *parser) caseExpression() {
	depth := 0
	for !p.done() {
		switch {
		case p.accept("CASE"):
			depth++
		case p.accept("END"):
			if depth--; depth == 0 {
				return
			}
		default:
			p.skip()
		}
	}
	p.failHere("expected END")
}

// isNull reports whether the text of a default is NULL.
func isNull(value string) bool {
	value = strings.Trim(value, "()")
	return value == "" || strings.EqualFold(value, "NULL")
}
