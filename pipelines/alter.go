package pipelines

import (
	"slices"
	"strings"
)

// What an ALTER TABLE may do to a mapped table is a list of what is known to
// leave every row and column as it is; all else stops the pipeline. That the
// columns compare equal afterwards proves nothing: they may have been dropped and
// added, narrowed and widened, or moved there and back since.

// harmlessClauses are the beginnings of clauses that pass. Each word is reserved,
// or is followed by one that is: no column can be meant.
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

// harmlessPartitions stand alone in their ALTER, with a list of partitions. A
// reorganization that would leave a row without a partition fails.
var harmlessPartitions = [][]string{
	{"REORGANIZE", "PARTITION"},
	{"REBUILD", "PARTITION"},
	{"OPTIMIZE", "PARTITION"},
	{"ANALYZE", "PARTITION"},
	{"CHECK", "PARTITION"},
}

// harmlessOptions are table options, which stand side by side without commas.
// DEFAULT and the character set are what columns to come will have.
var harmlessOptions = []string{
	"ALGORITHM", "LOCK", "FORCE", "AUTO_INCREMENT", "AUTOEXTEND_SIZE", "AVG_ROW_LENGTH", "CHECKSUM", "COMMENT", "COMPRESSION",
	"DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "DELAY_KEY_WRITE", "ENCRYPTION", "ENCRYPTED", "ENGINE", "ENGINE_ATTRIBUTE",
	"KEY_BLOCK_SIZE", "MAX_ROWS", "MIN_ROWS", "PACK_KEYS", "PAGE_CHECKSUM", "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "ROW_FORMAT",
	"SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE", "STATS_AUTO_RECALC", "STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "TABLESPACE", "TRANSACTIONAL",
}

// engines keep the rows of a table that is given to them; BLACKHOLE does not.
var engines = []string{"INNODB", "MYISAM", "ARIA", "ROCKSDB", "TOKUDB"}

// alter reads ALTER TABLE, clause by clause.
func (p *statementParser) alter() parsedStatement {
	var s parsedStatement
	for {
		if p.accept("IGNORE") {
			s.verb = verbChangesRows // it removes rows that a new key refuses
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

// clause reads the beginning of a clause and returns what it does.
func (p *statementParser) clause(s *parsedStatement) statementVerb {
	switch {
	case p.accept("EXCHANGE", "PARTITION"):
		for p.at < len(p.words) && !p.accept("WITH", "TABLE") {
			p.at++
		}
		s.tables = p.name(s.tables)
		return verbRemovesRows
	case p.accept("CONVERT", "TABLE"): // MariaDB: it becomes a partition
		s.tables = p.name(s.tables)
		return verbRemovesRows
	case p.accept("CONVERT", "PARTITION"):
		for p.at < len(p.words) && !p.accept("TO", "TABLE") {
			p.at++
		}
		to := p.name(nil)
		s.tables, s.targets = append(s.tables, to...), append(s.targets, to...)
		return verbRemovesRows
	case p.accept("TRUNCATE", "PARTITION"), p.accept("DROP", "PARTITION"), p.accept("DISCARD"), p.accept("IMPORT"):
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
		return p.standard()
	case p.at < len(p.words) && !p.words[p.at].Quoted && slices.Contains(harmlessOptions, strings.ToUpper(p.words[p.at].Text)):
		return p.options()
	}
	return verbChangesRows
}

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

// dropKey reads the name of an index that goes. The primary key can be named too.
func (p *statementParser) dropKey(s *parsedStatement) statementVerb {
	s.dropsKey = true
	if p.at < len(p.words) && strings.EqualFold(p.words[p.at].Text, "PRIMARY") {
		return verbChangesRows
	}
	return verbHarmless
}

// standard reads ALTER [COLUMN] c; of its forms the default alone touches no row.
func (p *statementParser) standard() statementVerb {
	p.accept("COLUMN")
	p.accept("IF", "EXISTS")
	p.at++
	if p.accept("SET", "DEFAULT") || p.accept("DROP", "DEFAULT") {
		return verbHarmless
	}
	return verbChangesRows
}

// options reads a run of table options, the first of which is harmless.
func (p *statementParser) options() statementVerb {
	for p.at < len(p.words) && !p.words[p.at].Is(",") {
		switch {
		case p.accept("ENGINE"):
			p.accept("=")
			if p.at >= len(p.words) || !slices.Contains(engines, strings.ToUpper(p.words[p.at].Text)) {
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

// skip passes over a word, or over all that stands in parentheses.
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
