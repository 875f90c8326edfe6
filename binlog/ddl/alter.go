package ddl

// alterTable reads ALTER TABLE from the table's name on.
func (p *parser) alterTable() {
	p.s.Action = AlterTable
	p.s.IfExists = p.accept("IF", "EXISTS")
	p.s.Tables = []TableName{p.tableName()}
	p.wait()
	for !p.done() {
		p.clause()
		for !p.done() && !p.peek().is(",") && p.betweenClauses() {
			continue
		}
		if !p.accept(",") {
			return
		}
		if p.done() {
			p.failHere("expected a clause")
		}
	}
}

// betweenClauses reads what needs no comma in front: table options and partitions.
func (p *parser) betweenClauses() bool {
	switch {
	case p.partitionBy():
		p.at = len(p.tokens)
	case p.accept("REMOVE", "PARTITIONING"):
	case p.algorithmAndLock():
	default:
		return p.tableOption()
	}
	return true
}

// add appends a Change.
func (p *parser) add(c Change) { p.s.Changes = append(p.s.Changes, c) }

// clause reads one clause.
func (p *parser) clause() {
	switch {
	case p.accept("ADD"):
		p.addClause()
	case p.accept("DROP"):
		p.dropClause()
	case p.accept("MODIFY"):
		p.accept("COLUMN")
		c := Change{Kind: ModifyColumn, Text: "MODIFY", IfExists: p.accept("IF", "EXISTS")}
		c.Column = p.columnDef()
		c.Name = c.Column.Name
		p.columnPlace(&c)
		p.addColumn(c)
	case p.accept("CHANGE"):
		p.accept("COLUMN")
		c := Change{Kind: ModifyColumn, Text: "CHANGE", IfExists: p.accept("IF", "EXISTS")}
		c.Name = p.columnName()
		c.Column = p.columnDef()
		p.columnPlace(&c)
		p.addColumn(c)
	case p.accept("RENAME"):
		p.renameClause()
	case p.accept("ALTER"):
		p.alterClause()
	case p.accept("CONVERT"):
		p.convertClause()
	case p.partitionClause():
	default:
		p.otherClause()
	}
}

// otherClause reads a clause that keeps columns, or table options.
func (p *parser) otherClause() {
	switch {
	case p.accept("ORDER", "BY"):
		p.orderBy()
	case p.accept("ENABLE", "KEYS"), p.accept("DISABLE", "KEYS"), p.accept("WITH", "VALIDATION"),
		p.accept("WITHOUT", "VALIDATION"), p.accept("SECONDARY_LOAD"), p.accept("SECONDARY_UNLOAD"):
	case p.accept("DISCARD", "TABLESPACE"):
		p.add(Change{Kind: RewritesRows, Text: "DISCARD TABLESPACE"})
	case p.accept("IMPORT", "TABLESPACE"):
		p.add(Change{Kind: RewritesRows, Text: "IMPORT TABLESPACE"})
	case p.accept("FORCE"), p.accept("UPGRADE", "PARTITIONING"):
	case p.betweenClauses():
	default:
		p.failHere("expected a clause of ALTER TABLE")
	}
}

// orderBy reads columns. The next clause begins with a reserved word.
func (p *parser) orderBy() {
	for p.err == nil {
		p.columnName()
		p.acceptAny("ASC", "DESC")
		switch next := p.peekAt(1); {
		case !p.peek().is(","), next.is("ADD"), next.is("DROP"), next.is("ALTER"),
			next.is("CHANGE"), next.is("CONVERT"), next.is("RENAME"), next.is("FORCE"),
			next.is("ORDER"):
			return
		}
		p.accept(",")
	}
}

// addClause reads what follows ADD.
func (p *parser) addClause() {
	switch {
	case p.accept("PARTITION"):
		p.at = len(p.tokens)
		return
	case p.accept("SYSTEM", "VERSIONING"):
		p.add(Change{Kind: StopsFollowing, Text: systemVersioned})
		return
	case p.startsKey():
		p.add(p.key())
		return
	}
	p.accept("COLUMN")
	c := Change{Kind: AddColumn, Text: "ADD COLUMN", IfNotExists: p.accept("IF", "NOT", "EXISTS")}
	if p.accept("(") {
		for p.err == nil {
			if p.startsKey() {
				p.add(p.key())
			} else {
				one := c
				one.Column = p.columnDef()
				p.addColumn(one)
			}
			if !p.accept(",") {
				break
			}
		}
		p.expect(")")
		return
	}
	c.Column = p.columnDef()
	p.columnPlace(&c)
	p.addColumn(c)
}

// columnPlace reads FIRST or AFTER column.
func (p *parser) columnPlace(c *Change) {
	if p.accept("FIRST") {
		c.First = true
	} else if p.accept("AFTER") {
		c.After = p.columnName()
	}
}

// dropClause reads what follows DROP.
func (p *parser) dropClause() {
	switch {
	case p.accept("PRIMARY", "KEY"):
		p.add(Change{Kind: DropPrimaryKey, Text: "DROP PRIMARY KEY"})
		return
	case p.accept("PARTITION"):
		p.at = len(p.tokens)
		p.add(Change{Kind: RewritesRows, Text: "DROP PARTITION"})
		return
	case p.accept("SYSTEM", "VERSIONING"):
		p.fail("a table loses its SYSTEM VERSIONING")
		return
	case p.accept("PERIOD", "FOR"):
		p.accept("IF", "EXISTS")
		p.add(Change{Kind: dropPeriod, Name: p.name(), Text: "DROP PERIOD"})
		return
	}
	c := Change{Kind: DropColumn, Text: "DROP COLUMN"}
	switch {
	case p.acceptAny("INDEX", "KEY"):
		c.Kind, c.Text = DropKey, "DROP INDEX"
	case p.accept("FOREIGN", "KEY"):
		c.Kind, c.Text = DropConstraint, "DROP FOREIGN KEY"
	case p.acceptAny("CONSTRAINT", "CHECK"):
		c.Kind, c.Text = DropConstraint, "DROP CONSTRAINT"
	default:
		p.accept("COLUMN")
	}
	c.IfExists = p.accept("IF", "EXISTS")
	c.Name = p.columnName()
	p.acceptAny("RESTRICT", "CASCADE")
	p.add(c)
}

// renameClause reads what follows RENAME.
func (p *parser) renameClause() {
	c := Change{Kind: RenameTo, Text: "RENAME"}
	switch {
	case p.accept("COLUMN"):
		c.Kind, c.Text = RenameColumn, "RENAME COLUMN"
	case p.acceptAny("INDEX", "KEY"):
		c.Kind, c.Text = RenameKey, "RENAME INDEX"
	default:
		if !p.acceptAny("TO", "AS") {
			p.accept("=")
		}
		c.Table = p.tableName()
		p.add(c)
		return
	}
	c.IfExists = p.accept("IF", "EXISTS")
	c.Name = p.columnName()
	p.expect("TO")
	c.NewName = p.columnName()
	p.add(c)
}

// alterClause reads what follows ALTER.
func (p *parser) alterClause() {
	switch {
	case p.acceptAny("INDEX", "KEY"):
		p.accept("IF", "EXISTS")
		p.name()
		if !p.acceptAny("VISIBLE", "INVISIBLE", "IGNORED") {
			p.expect("NOT", "IGNORED")
		}
		return
	case p.acceptAny("CHECK", "CONSTRAINT"):
		p.name()
		p.accept("NOT")
		p.expect("ENFORCED")
		return
	}
	p.accept("COLUMN")
	c := Change{Kind: SetDefault, Text: "ALTER COLUMN", IfExists: p.accept("IF", "EXISTS")}
	c.Name = p.columnName()
	switch {
	case p.accept("DROP", "DEFAULT"):
	case p.accept("SET", "DEFAULT"):
		c.value = p.defaultValue()
	case p.accept("SET", "VISIBLE"):
		c.Kind = SetVisibility
	case p.accept("SET", "INVISIBLE"):
		c.Kind, c.invisible = SetVisibility, true
	default:
		p.failHere("expected SET or DROP DEFAULT")
	}
	p.add(c)
}

// convertClause reads what follows CONVERT.
func (p *parser) convertClause() {
	switch {
	case p.accept("TO"):
		c := Change{Kind: ConvertCharset, Text: "CONVERT TO CHARACTER SET"}
		if !p.charsetOption(&c.charset) {
			p.failHere("expected CHARACTER SET")
		}
		if p.peek().is("COLLATE") {
			p.charsetOption(&c.charset)
		}
		p.add(c)
	case p.accept("TABLE"):
		c := Change{Kind: AttachTable, Table: p.tableName(), Text: "CONVERT TABLE"}
		p.at = len(p.tokens)
		p.add(c)
	case p.accept("PARTITION"):
		p.name()
		p.expect("TO", "TABLE")
		p.add(Change{Kind: DetachTable, Table: p.tableName(), Text: "CONVERT PARTITION"})
		p.at = len(p.tokens)
	default:
		p.failHere("expected TO, TABLE or PARTITION")
	}
}

// partitionClause reads a clause about partitions, and reports whether one was next. No other
// clause may follow it.
func (p *parser) partitionClause() bool {
	kind := RewritesRows
	text := p.peek().text + " PARTITION"
	switch {
	case p.accept("EXCHANGE", "PARTITION"):
		p.name()
		p.expect("WITH", "TABLE")
		p.add(Change{Kind: ExchangePartition, Table: p.tableName(), Text: "EXCHANGE PARTITION"})
		if !p.accept("WITH", "VALIDATION") {
			p.accept("WITHOUT", "VALIDATION")
		}
		return true
	case p.accept("TRUNCATE", "PARTITION"), p.accept("REORGANIZE", "PARTITION"),
		p.accept("DISCARD", "PARTITION"), p.accept("IMPORT", "PARTITION"),
		p.accept("REPAIR", "PARTITION"):
	case p.accept("COALESCE", "PARTITION"), p.accept("REBUILD", "PARTITION"),
		p.accept("OPTIMIZE", "PARTITION"), p.accept("ANALYZE", "PARTITION"),
		p.accept("CHECK", "PARTITION"):
		kind = KeepsRows
	default:
		return false
	}
	p.at = len(p.tokens)
	p.add(Change{Kind: kind, Text: text})
	return true
}
