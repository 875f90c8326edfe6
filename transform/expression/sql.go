package expression

import (
	"slices"
	"strings"
	"unicode"

	"rowfall/binlog"
)

// sqlWords maps words of SQL, in upper case, to the spelling that expressions accept.
var sqlWords = map[string]string{
	"AND": "and", "OR": "or", "NOT": "not", "XOR": "!= between two conditions",
	"IN": "in with a list in brackets, as in [1, 2]", "BETWEEN": "x >= low and x <= high",
	"LIKE": "contains, startsWith, endsWith or matches", "REGEXP": "matches", "RLIKE": "matches",
	"NULL": "nil", "TRUE": "true", "FALSE": "false", "DIV": "int(x / y)", "MOD": "%",
	"CASE": "condition ? value : other", "INTERVAL": "unix(x) + seconds",
}

// sqlFunctions maps functions of SQL, in upper case, to the spelling that expressions accept.
var sqlFunctions = map[string]string{
	"CONCAT": "+", "CONCAT_WS": "+", "IFNULL": "x ?? other", "COALESCE": "x ?? other",
	"NVL": "x ?? other", "ISNULL": "x == nil", "NULLIF": "x == y ? nil : x",
	"IF": "condition ? value : other", "GREATEST": "max(x, y)", "LEAST": "min(x, y)",

	"LENGTH": "len(x)", "CHAR_LENGTH": "len(x)", "LCASE": "lower(x)", "UCASE": "upper(x)",
	"SUBSTRING": "x[from:to]", "SUBSTR": "x[from:to]", "MID": "x[from:to]",
	"LEFT": "x[:n]", "RIGHT": "x[-n:]", "SUBSTRING_INDEX": "split(x, separator)[n]",
	"LOCATE": "indexOf(x, part)", "INSTR": "indexOf(x, part)", "POSITION": "indexOf(x, part)",
	"FIND_IN_SET": `"label" in x`, "LTRIM": "trim(x)", "RTRIM": "trim(x)",
	"LPAD": `padLeft(x, n, "0")`, "RPAD": "padRight(x, n)",
	"TO_BASE64": "toBase64(x)", "SHA2": "sha256(x)", "BIN_TO_UUID": "uuid(x)",
	"REGEXP_LIKE": `x matches "pattern"`, "REGEXP_SUBSTR": `regexFind(x, "pattern")`,
	"REGEXP_REPLACE": `regexReplace(x, "pattern", "with")`,

	"CAST":    "int(x), decimal(x), float(x) or string(x)",
	"CONVERT": "int(x), decimal(x), float(x) or string(x)",
	"CEILING": "ceil(x)", "TRUNCATE": "int(x)", "POW": "x ** y", "POWER": "x ** y",

	"DATE_FORMAT": `format(x, "%Y-%m-%d")`, "TIME_FORMAT": "string(x)[:5]",
	"UNIX_TIMESTAMP": "unix(x)", "YEAR": `int(format(x, "%Y"))`,
	"MONTH": `int(format(x, "%m"))`, "DAY": `int(format(x, "%d"))`,

	"JSON_EXTRACT": `json(x, "$.name")`, "JSON_VALUE": `json(x, "$.name")`,
	"JSON_UNQUOTE": `json(x, "$.name")`,
}

// sqlOperators maps operators of SQL to the spelling that expressions accept.
var sqlOperators = map[string]string{
	"=": "==", "<=>": "==", "<>": "!=", "''": `\' for a quote inside a text`,
	"&":  "and between conditions, bitand(x, y) between integers",
	"|":  "or between conditions, bitor(x, y) between integers",
	"^":  "bitxor(x, y), or ** for a power",
	"->": `json(x, "$.name")`, "->>": `json(x, "$.name")`,
}

// sqlSpelling looks for SQL in an expression that does not compile. It returns an error that names
// each word of SQL with the spelling that expressions accept, or nil if it finds none. The names of
// the table's columns are not words of SQL; t may be nil.
func sqlSpelling(source string, t *binlog.Table) *CompileError {
	var found []string
	var at token
	add := func(tok token, sql, accepted string) {
		text := accepted + " (not " + sql + ")"
		if slices.Contains(found, text) {
			return
		}
		if len(found) == 0 {
			at = tok
		}
		found = append(found, text)
	}
	tokens := tokenize(source)
	for i := 0; i < len(tokens); i++ {
		tok, next := tokens[i], token{}
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		upper := strings.ToUpper(tok.text)
		switch {
		case tok.text == "let":
			return nil // the = of let is not a comparison
		case tok.text == "|" && next.word && i+2 < len(tokens) && tokens[i+2].text == "(":
			// x | f() is f(x).
		case sqlOperators[tok.text] != "":
			add(tok, tok.text, sqlOperators[tok.text])
		case !tok.word || t != nil && t.Column(tok.text) >= 0:
		case next.text == "(" && sqlFunctions[upper] != "":
			add(tok, tok.text+"()", sqlFunctions[upper])
		case upper == "IS":
			sql, accepted, words := isSpelling(tokens[i:])
			add(tok, sql, accepted)
			i += words - 1
		case tok.text == "in":
			if next.text == "(" && listAhead(tokens[i+1:]) {
				add(tok, "in (...)", "in [...]")
			}
		case slices.Contains([]string{"and", "or", "not", "true", "false"}, tok.text):
			// Expressions accept these words in lower case.
		case sqlWords[upper] != "":
			add(tok, tok.text, sqlWords[upper])
		}
	}
	if len(found) == 0 {
		return nil
	}
	message := "this is SQL; in an expression write " + strings.Join(found, ", ")
	return &CompileError{Line: at.line, Column: at.column, Message: message}
}

// isSpelling parses IS, IS NULL, IS NOT or IS NOT NULL at the beginning of tokens, and returns the
// accepted spelling and the number of words.
func isSpelling(tokens []token) (sql, accepted string, words int) {
	sql, accepted, words = tokens[0].text, "==", 1
	if words < len(tokens) && strings.EqualFold(tokens[words].text, "NOT") {
		sql, accepted, words = sql+" "+tokens[words].text, "!=", words+1
	}
	if words < len(tokens) && strings.EqualFold(tokens[words].text, "NULL") {
		sql, accepted, words = sql+" "+tokens[words].text, accepted+" nil", words+1
	}
	return sql, accepted, words
}

// listAhead reports whether the parentheses that open at the beginning of tokens contain a comma,
// apart from commas in nested parentheses: they enclose a list.
func listAhead(tokens []token) bool {
	depth := 0
	for _, t := range tokens {
		switch t.text {
		case "(", "[":
			depth++
		case ")", "]":
			if depth--; depth == 0 {
				return false
			}
		case ",":
			if depth == 1 {
				return true
			}
		}
	}
	return false
}

// token is a word, an operator or a punctuation mark of an expression.
type token struct {
	text         string
	word         bool
	line, column int // as in CompileError
}

// operatorRunes are the characters that can follow each other in one operator.
const operatorRunes = "<>=!|&"

func isWord(r rune) bool {
	return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// tokenize splits an expression into tokens, as far as sqlSpelling needs them. Text literals are
// left out. Every source is accepted.
func tokenize(source string) []token {
	var tokens []token
	runes := []rune(source)
	line, start := 1, 0 // number and offset of the current line
	for i := 0; i < len(runes); {
		r, from := runes[i], i
		switch {
		case r == '\n':
			line, start = line+1, i+1
			i++
			continue
		case r == '"' || r == '\'' || r == '`':
			for i++; i < len(runes) && runes[i] != r; i++ {
				if runes[i] == '\\' && r != '`' {
					i++
				}
			}
			i++
			// Two quotes are a quote in SQL.
			if i < len(runes) && runes[i] == r && r == '\'' {
				tokens = append(tokens, token{"''", false, line, i - start})
			}
			continue
		case isWord(r):
			for i < len(runes) && isWord(runes[i]) {
				i++
			}
		case r == '-' && i+1 < len(runes) && runes[i+1] == '>': // -> and ->> of JSON
			i++
			for i < len(runes) && runes[i] == '>' {
				i++
			}
		case strings.ContainsRune(operatorRunes, r):
			for i < len(runes) && strings.ContainsRune(operatorRunes, runes[i]) {
				i++
			}
		default:
			i++
			if unicode.IsSpace(r) {
				continue
			}
		}
		tokens = append(tokens, token{string(runes[from:i]), isWord(r), line, from - start + 1})
	}
	return tokens
}
