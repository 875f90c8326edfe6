package ddl

import "strings"

// KeyKind is the kind of a key.
type KeyKind uint8

// The kinds of keys. IndexKey is every key that is not unique, FULLTEXT and SPATIAL included.
const (
	PrimaryKey KeyKind = iota + 1
	UniqueKey
	IndexKey
)

// KeyDef is the definition of a key as a statement has it.
type KeyDef struct {
	Kind  KeyKind
	Name  string // empty: the server chooses one
	Parts []KeyPart
	// hash and btree are set for USING HASH and USING BTREE.
	hash, btree bool
	// period is the application-time period of MariaDB's WITHOUT OVERLAPS.
	period string
	// foreign is set for the index of a foreign key, which the server omits if another index begins
	// with its columns.
	foreign bool
}

// KeyPart is a column of a key.
type KeyPart struct {
	Column string `json:"c,omitempty"`
	// Length is the length of the prefix in characters or bytes; 0 for the whole column.
	Length int `json:"l,omitempty"`
	// Expression is set for an expression in place of a column.
	Expression bool `json:"x,omitempty"`
}

// startsKey reports whether a key or constraint comes next, and no column.
func (p *parser) startsKey() bool {
	first, second := p.peek(), p.peekAt(1)
	if first.kind != tokenWord {
		return false
	}
	switch strings.ToUpper(first.text) {
	case "CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN",
		"CHECK":
		return true
	case "VECTOR":
		return second.is("INDEX") || second.is("KEY") || second.is("(")
	case "PERIOD":
		return second.is("FOR")
	}
	return false
}

// key reads a key or a constraint. A CHECK returns a Change that keeps rows.
func (p *parser) key() Change {
	constraint := ""
	if p.accept("CONSTRAINT") {
		p.accept("IF", "NOT", "EXISTS")
		if !p.startsKey() {
			constraint = p.name()
		}
	}
	c := Change{Kind: AddKey}
	switch {
	case p.accept("PRIMARY"):
		p.expect("KEY")
		c.Key = p.keyDef(PrimaryKey, "")
		c.Key.Name = "PRIMARY"
		c.Text = "ADD PRIMARY KEY"
	case p.accept("UNIQUE"):
		p.acceptAny("KEY", "INDEX")
		c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
		c.Key = p.keyDef(UniqueKey, constraint)
		c.Text = "ADD UNIQUE"
	case p.acceptAny("INDEX", "KEY"):
		c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
		c.Key = p.keyDef(IndexKey, "")
		c.Text = "ADD INDEX"
	case p.acceptAny("FULLTEXT", "SPATIAL", "VECTOR"):
		p.acceptAny("KEY", "INDEX")
		c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
		c.Key = p.keyDef(IndexKey, "")
		c.Text = "ADD INDEX"
	case p.accept("FOREIGN", "KEY"):
		c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
		c.Key = p.keyDef(IndexKey, constraint)
		if constraint != "" {
			c.Key.Name = constraint
		}
		c.Key.foreign = true
		c.Text = "ADD FOREIGN KEY"
		p.expect("REFERENCES")
		p.references()
	case p.accept("CHECK"):
		p.group()
		if p.accept("NOT") {
			p.expect("ENFORCED")
		} else {
			p.accept("ENFORCED")
		}
		return Change{Text: "ADD CHECK"}
	case p.accept("PERIOD", "FOR"):
		return p.period()
	default:
		p.failHere("expected a key or a constraint")
		return c
	}
	return c
}

// period reads MariaDB's PERIOD FOR name (start, end).
func (p *parser) period() Change {
	p.accept("IF", "NOT", "EXISTS")
	isSystem := p.peek().is("SYSTEM_TIME")
	c := Change{Kind: addPeriod, Name: p.name(), Text: "ADD PERIOD"}
	p.expect("(")
	c.value = p.columnName()
	p.expect(",")
	c.NewName = p.columnName()
	p.expect(")")
	if isSystem {
		return Change{Kind: StopsFollowing, Text: systemVersioned}
	}
	return c
}

// keyDef reads the name, columns and options of a key. name applies where the key has no name.
func (p *parser) keyDef(kind KeyKind, name string) *KeyDef {
	k := &KeyDef{Kind: kind, Name: name}
	if p.peek().isName() && !p.startsIndexType() {
		k.Name = p.name()
	}
	p.indexType(k)
	p.keyParts(k)
	p.keyOptions(k)
	return k
}

func (p *parser) startsIndexType() bool {
	if !p.peek().is("USING") && !p.peek().is("TYPE") {
		return false
	}
	second := p.peekAt(1)
	return second.is("BTREE") || second.is("HASH") || second.is("RTREE")
}

// indexType reads USING or TYPE with a type of index.
func (p *parser) indexType(k *KeyDef) {
	if p.startsIndexType() {
		p.next()
		algorithm := p.next()
		k.hash, k.btree = algorithm.is("HASH"), algorithm.is("BTREE")
	}
}

// keyParts reads the columns of a key.
func (p *parser) keyParts(k *KeyDef) {
	p.expect("(")
	for p.err == nil {
		switch {
		case p.peek().is("("):
			p.group()
			k.Parts = append(k.Parts, KeyPart{Expression: true})
		case p.peekAt(1).is("WITHOUT"):
			k.period = p.name()
			p.expect("WITHOUT", "OVERLAPS")
		default:
			part := KeyPart{Column: p.columnName()}
			if p.accept("(") {
				part.Length = p.number()
				p.expect(")")
			}
			k.Parts = append(k.Parts, part)
		}
		p.acceptAny("ASC", "DESC")
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
}

// keyOptions reads the options of a key, which have values with or without "=".
func (p *parser) keyOptions(k *KeyDef) {
	for !p.done() {
		switch {
		case p.startsIndexType():
			p.indexType(k)
		case p.acceptAny("VISIBLE", "INVISIBLE", "IGNORED"), p.accept("NOT", "IGNORED"):
		case p.accept("WITH", "PARSER"), p.accept("COMMENT"):
			p.next()
		case p.acceptAny("KEY_BLOCK_SIZE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"):
			p.accept("=")
			p.next()
		case p.peek().isName() && p.peekAt(1).is("="):
			p.next()
			p.next()
			p.skip()
		default:
			return
		}
	}
}
