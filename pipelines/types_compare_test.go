package pipelines_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// print returns the texts of a table's columns as a SELECT prints them, with an empty sql_mode and
// the time zone UTC. The exceptions are those that package binlog documents.
func (m *typeMatrix) print(table *typeTable) [][]mysql.Cell {
	m.t.Helper()
	columns := table.schema.Columns
	list := make([]string, len(columns))
	for i := range columns {
		c := &columns[i]
		switch {
		case c.Type == binlog.TypeBit:
			list[i] = "CAST(" + c.Name + " AS UNSIGNED)"
		case c.Type == binlog.TypeFloat,
			c.Type == binlog.TypeDouble && strings.Contains(c.SQLType, "("):
			list[i] = c.Name + "*1e0"
		default:
			list[i] = c.Name
		}
	}
	m.d.exec("SET @zone = @@time_zone, time_zone = '+00:00'")
	r, err := m.d.conn.Query(m.t.Context(),
		"SELECT "+strings.Join(list, ", ")+" FROM "+table.name+" ORDER BY 1")
	must(m.t, err)
	m.d.exec("SET time_zone = @zone")
	for _, row := range r.Rows {
		for i := range columns {
			if row[i] != nil {
				row[i] = m.documentedText(&columns[i], row[i])
			}
		}
	}
	return r.Rows
}

// documentedText returns the text of a value whose text differs from the server's by design.
func (m *typeMatrix) documentedText(c *binlog.Column, text mysql.Cell) mysql.Cell {
	switch {
	case c.Type == binlog.TypeFloat:
		f, err := strconv.ParseFloat(string(text), 64)
		must(m.t, err)
		return mysql.Cell(m.shortest(float32(f)))
	case c.Type == binlog.TypeVector: // the server prints its bytes
		var numbers []string
		for b := range slices.Chunk(text, 4) {
			numbers = append(numbers,
				m.shortest(math.Float32frombits(binary.LittleEndian.Uint32(b))))
		}
		return mysql.Cell("[" + strings.Join(numbers, ",") + "]")
	case strings.Contains(c.SQLType, "zerofill"):
		trimmed := strings.TrimLeft(string(text), "0")
		if trimmed == "" || trimmed[0] == '.' {
			trimmed = "0" + trimmed
		}
		return mysql.Cell(trimmed)
	}
	return text
}

// shortest returns the shortest text of a FLOAT.
func (m *typeMatrix) shortest(f float32) string {
	text, err := binlog.AppendFloat(nil, float64(f), 32)
	must(m.t, err)
	if back, err := strconv.ParseFloat(string(text), 32); err != nil || float32(back) != f {
		m.t.Errorf("%v prints as %s, %v", f, text, err)
	}
	return string(text)
}

// keys returns the Redis keys of a table whose only key column is c0.
func (m *typeMatrix) keys(table *typeTable, rows [][]mysql.Cell) map[string]string {
	keys := make(map[string]string, len(rows))
	for _, row := range rows {
		keys[table.name+":"+string(row[0])] = string(row[1])
	}
	return keys
}

// compare waits until the replica has everything that the database has executed, and compares its
// data with what the database prints.
func (m *typeMatrix) compare(master *runningInstance, replica *redis.Client, when string) {
	m.t.Helper()
	ctx, end := m.t.Context(), m.d.end().GTID.String()
	const position = "rowfall:position:test"
	waitFor(m.t, "the replica has the data", func() bool {
		if faults := master.Pipeline.Stats().Quarantined; len(faults) > 0 {
			m.t.Fatalf("%s: in quarantine: %+v", when, faults)
		}
		n, err := master.client.Do(ctx, "ROWFALL", "WAIT", end, 100).Int()
		if err != nil || n != 1 {
			return false
		}
		theirs, err := replica.HGetAll(ctx, position).Result()
		return err == nil && maps.Equal(theirs, master.client.HGetAll(ctx, position).Val())
	})
	present := make(map[string]bool)
	for _, key := range replica.Keys(ctx, "*").Val() {
		present[key] = !strings.HasPrefix(key, "rowfall:")
	}
	faults := 0
	for _, table := range m.tables {
		rows := m.print(table)
		if table.isKey {
			for key, v := range m.keys(table, rows) {
				if got := replica.Get(ctx, key).Val(); got != v {
					m.t.Errorf("%s: %s PRIMARY KEY: %q is %q, want %q", when,
						table.columns[0].SQL, key, got, v)
					faults++
				}
				delete(present, key)
			}
			continue
		}
		faults += m.compareRows(replica, table, rows, when)
		for _, row := range rows {
			delete(present, table.name+":"+string(row[0]))
			delete(present, "j:"+table.name+":"+string(row[0]))
			delete(present, "s:"+table.name)
		}
		if faults > 60 {
			m.t.Fatal("and so on")
		}
	}
	for key, isData := range present {
		if isData {
			m.t.Errorf("%s: the replica has the key %q, whose row is gone", when, key)
		}
	}
	if m.t.Failed() {
		m.t.FailNow()
	}
}

// compareRows compares the hashes and JSON objects of rows with their texts.
func (m *typeMatrix) compareRows(
	replica *redis.Client, table *typeTable, rows [][]mysql.Cell, when string,
) (faults int) {
	ctx := m.t.Context()
	pipe := replica.Pipeline()
	hashes := make([]*redis.MapStringStringCmd, len(rows))
	objects := make([]*redis.StringCmd, len(rows))
	for i, row := range rows {
		hashes[i] = pipe.HGetAll(ctx, table.name+":"+string(row[0]))
		objects[i] = pipe.Get(ctx, "j:"+table.name+":"+string(row[0]))
	}
	_, _ = pipe.Exec(ctx)
	for i, row := range rows {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(objects[i].Val()), &object); err != nil {
			m.t.Errorf("%s: %s %s: %q is not JSON: %v", when, table.name, row[0],
				objects[i].Val(), err)
			faults++
			continue
		}
		hash := hashes[i].Val()
		fields := 0
		for k := range table.schema.Columns {
			c := &table.schema.Columns[k]
			text, ok := hash[c.Name]
			if c.Invisible && !table.showsInvisible {
				if ok || object[c.Name] != nil {
					m.t.Errorf("%s: %s has the invisible %s", when, table.name, c.Name)
				}
				continue
			}
			fields++
			switch {
			case ok != (row[k] != nil) || text != string(row[k]):
				m.t.Errorf("%s: %s.%s %s in row %s: the replica has %.300q, want %.300q",
					when, table.name, c.Name, c.SQLType, row[0], text, row[k])
				faults++
			case !isJSONOf(c, object[c.Name], row[k]):
				m.t.Errorf("%s: %s.%s %s in row %s: the JSON is %.300s for %.300q", when,
					table.name, c.Name, c.SQLType, row[0], object[c.Name], row[k])
				faults++
			}
		}
		if len(object) != fields {
			m.t.Errorf("%s: %s has %d members", when, table.name, len(object))
		}
	}
	return faults
}

// isJSONOf reports whether a member of a JSON object is the value that prints as text.
func isJSONOf(c *binlog.Column, member json.RawMessage, text mysql.Cell) bool {
	if text == nil {
		return string(member) == "null"
	}
	decoded := ""
	switch c.Type {
	case binlog.TypeJSON:
		return string(member) == string(text)
	case binlog.TypeSet:
		var labels []string
		err := json.Unmarshal(member, &labels)
		return err == nil && strings.Join(labels, ",") == string(text)
	case binlog.TypeYear:
		year, err := strconv.Atoi(string(text))
		return err == nil && string(member) == strconv.Itoa(year)
	case binlog.TypeBinary, binlog.TypeVarbinary, binlog.TypeBlob, binlog.TypeGeometry:
		err := json.Unmarshal(member, &decoded)
		return err == nil && decoded == base64.StdEncoding.EncodeToString(text)
	}
	if slices.Contains([]binlog.Type{
		binlog.TypeDecimal, binlog.TypeFloat, binlog.TypeDouble, binlog.TypeBit,
	}, c.Type) || c.Type.IsInteger() {
		return string(member) == string(text)
	}
	err := json.Unmarshal(member, &decoded)
	return err == nil && decoded == string(text)
}
