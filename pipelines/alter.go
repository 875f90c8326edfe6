package pipelines

import (
	"slices"
	"strings"
)

// This file lists the clauses of ALTER TABLE that keep every row and column as it is. Any other
// clause stops the pipeline. Equal columns afterwards are no proof that an ALTER was harmless: a
// column may have been dropped and added again, or narrowed and widened again.

// harmlessClauses are the first words of harmless clauses. Every clause begins with reserved words,
// so it cannot be an ADD or DROP of a column that has this name.
var harmlessClauses = [][]string{
	{"ADD", "INDEX"},
	{"ADD", "KEY"},
	{"ADD", "UNIQUE"},
	{"ADD", "FULLTEXT"},
	{"ADD", "SPATIAL"},
	{"ADD", "VECTOR", "INDEX"},
	{"ADD", "VECTOR", "KEY"},
	{"ADD", "FOREIGN", "KEY"},
	{"ADD", "CHECK"},
	{"ADD", "PARTITION"},
	{"DROP", "FOREIGN", "KEY"},
	{"DROP", "CHECK"},
	{"ALTER", "INDEX"},
	{"ALTER", "KEY"},
	{"ALTER", "CHECK"},
	{"ALTER", "CONSTRAINT"},
	{"RENAME", "INDEX"},
	{"RENAME", "KEY"},
	{"ENABLE", "KEYS"},
	{"DISABLE", "KEYS"},
	{"WITH", "VALIDATION"},
	{"WITHOUT", "VALIDATION"},
	{"PARTITION", "BY"},
	{"REMOVE", "PARTITIONING"},
	{"COALESCE", "PARTITION"},
}

// harmlessPartitions are clauses with a list of partitions; MySQL allows no other clause beside
// them. A reorganization that would leave a row without a partition fails.
var harmlessPartitions = [][]string{
	{"REORGANIZE", "PARTITION"},
	{"REBUILD", "PARTITION"},
	{"OPTIMIZE", "PARTITION"},
	{"ANALYZE", "PARTITION"},
	{"CHECK", "PARTITION"},
}

// harmlessOptions are table options, which need no commas between them. DEFAULT and the character
// set apply to columns that are added later.
var harmlessOptions = []string{
	"ALGORITHM", "LOCK", "FORCE", "AUTO_INCREMENT", "AUTOEXTEND_SIZE", "AVG_ROW_LENGTH",
	"CHECKSUM", "COMMENT", "COMPRESSION", "DEFAULT", "CHARACTER", "CHARSET", "COLLATE",
	"DELAY_KEY_WRITE", "ENCRYPTION", "ENCRYPTED", "ENGINE", "ENGINE_ATTRIBUTE",
	"KEY_BLOCK_SIZE", "MAX_ROWS", "MIN_ROWS", "PACK_KEYS", "PAGE_CHECKSUM", "PAGE_COMPRESSED",
	"PAGE_COMPRESSION_LEVEL", "ROW_FORMAT", "SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE",
	"STATS_AUTO_RECALC", "STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "TABLESPACE", "TRANSACTIONAL",
}

// engines are those that keep the rows of a table that is converted to them; BLACKHOLE does not.
var engines = []string{"INNODB", "MYISAM", "ARIA", "ROCKSDB", "TOKUDB"}

// alter reads ALTER TABLE, clause by clause.
func (p *statementParser) alter() parsedStatement {
	var s parsedStatement
	for {
		if p.accept("IGNORE") {
			s.verb = verbChangesRows // it removes rows that violate a new key
		} else if !p.accept("ONLINE") {
			break
		}
	}
	if !p.accept("TABLE") {
		return parsedStatement{}
	}
	p.accept("IF", "EXISTS")
	s.tables = p.name(nil)
	if p.accept("WAIT") {
		p.at++
	} else {
		p.accept("NOWAIT")
	}
	for p.at < len(p.words) {
		if verb := p.clause(&s); verb != verbHarmless && s.verb != verbRename {
			s.verb = verb
		}
		for p.at < len(p.words) && !p.accept(",") {
			p.skip()
		}
	}
	return s
}

// clause reads the beginning of a clause and returns its effect.
func (p *statementParser) clause(s *parsedStatement) statementVerb {
	switch {
	case p.accept("EXCHANGE", "PARTITION"):
		for p.at < len(p.words) && !p.accept("WITH", "TABLE") {
			p.at++
		}
		s.tables = p.name(s.tables)
		return verbRemovesRows
	case p.accept("CONVERT", "TABLE"): // MariaDB: the table becomes a partition
		s.tables = p.name(s.tables)
		return verbRemovesRows
	case p.accept("CONVERT", "PARTITION"):
		for p.at < len(p.words) && !p.accept("TO", "TABLE") {
			p.at++
		}
		to := p.name(nil)
		s.tables, s.targets = append(s.tables, to...), append(s.targets, to...)
		return verbRemovesRows
	case p.accept("TRUNCATE", "PARTITION"), p.accept("DROP", "PARTITION"),
		p.accept("DISCARD"), p.accept("IMPORT"):
		return verbRemovesRows
	case p.accept("RENAME", "COLUMN"):
		return verbChangesRows
	case p.acceptAny(harmlessClauses):
		return verbHarmless
	case p.acceptAny(harmlessPartitions):
		p.at = len(p.words)
		return verbHarmless
	case p.accept("RENAME"):
		if !p.accept("TO") && !p.accept("AS") {
			p.accept("=")
		}
		to := p.name(nil)
		s.tables, s.targets = append(s.tables, to...), append(s.targets, to...)
		return verbRename
	case p.accept("ADD", "CONSTRAINT"):
		return p.constraint()
	case p.accept("DROP", "INDEX"), p.accept("DROP", "KEY"), p.accept("DROP", "CONSTRAINT"):
		p.accept("IF", "EXISTS")
		return p.dropKey(s)
	case p.accept("ALTER"):
		return p.alterColumn()
	case p.at < len(p.words) && !p.words[p.at].Quoted &&
		slices.Contains(harmlessOptions, strings.ToUpper(p.words[p.at].Text)):
		return p.options()
	}
	return verbChangesRows
}

// acceptAny skips the first of the given beginnings that matches.
func (p *statementParser) acceptAny(beginnings [][]string) bool {
	return slices.ContainsFunc(beginnings, func(b []string) bool { return p.accept(b...) })
}

// constraint reads ADD CONSTRAINT. A primary key makes its columns NOT NULL.
func (p *statementParser) constraint() statementVerb {
	p.accept("IF", "NOT", "EXISTS")
	for range 2 { // the name may be missing
		if p.accept("FOREIGN", "KEY") || p.accept("CHECK") || p.accept("UNIQUE") {
			return verbHarmless
		}
		p.at++
	}
	return verbChangesRows
}

// dropKey reads the name of an index that is dropped. It may be the primary key's.
func (p *statementParser) dropKey(s *parsedStatement) statementVerb {
	s.dropsKey = true
	if p.at < len(p.words) && strings.EqualFold(p.words[p.at].Text, "PRIMARY") {
		return verbChangesRows
	}
	return verbHarmless
}

// alterColumn reads ALTER [COLUMN] c. Only a change of the default keeps all rows.
func (p *statementParser) alterColumn() statementVerb {
	p.accept("COLUMN")
	p.accept("IF", "EXISTS")
	p.at++
	if p.accept("SET", "DEFAULT") || p.accept("DROP", "DEFAULT") {
		return verbHarmless
	}
	return verbChangesRows
}

// options reads a sequence of table options, of which the first is harmless.
func (p *statementParser) options() statementVerb {
	for p.at < len(p.words) && !p.words[p.at].Is(",") {
		switch {
		case p.accept("ENGINE"):
			p.accept("=")
			if p.at >= len(p.words) ||
				!slices.Contains(engines, strings.ToUpper(p.words[p.at].Text)) {
				return verbChangesRows
			}
		case p.accept("UNION"): // the tables that a MERGE table shows
			return verbChangesRows
		default:
			p.skip()
		}
	}
	return verbHarmless
}

// skip skips a word, or a group in parentheses.
func (p *statementParser) skip() {
	depth := 0
	for p.at < len(p.words) {
		switch w := p.words[p.at]; {
		case w.Is("("):
			depth++
		case w.Is(")"):
			depth--
		}
		p.at++
		if depth <= 0 {
			return
		}
	}
}
