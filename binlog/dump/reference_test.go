package dump_test

import (
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"rowfall/binlog"
	"rowfall/binlog/charset"
)

// compareReference decodes the rows that were inserted into shop.types with go-mysql, from the
// server's file after from, and compares them with ours.
func (f *harness) compareReference(table *binlog.Table, from binlog.Position,
	ours map[int]printed,
) {
	f.t.Helper()
	r, err := f.conn.Query(f.t.Context(), "SELECT @@log_bin_basename")
	if err != nil {
		f.t.Fatal(err)
	}
	p := replication.NewBinlogParser()
	p.SetTimestampStringLocation(time.UTC)
	p.SetIgnoreJSONDecodeError(true)
	p.SetFlavor("mysql")
	if f.setup.kind.IsMariaDB() {
		p.SetFlavor("mariadb")
	}
	rows, faults := 0, 0
	err = p.ParseFile(
		filepath.Join(filepath.Dir(string(r.Rows[0][0])), from.File), int64(from.Offset),
		func(e *replication.BinlogEvent) error {
			ev, ok := e.Event.(*replication.RowsEvent)
			if !ok || string(ev.Table.Table) != "types" || !slices.Contains([]replication.EventType{
				replication.WRITE_ROWS_EVENTv1, replication.WRITE_ROWS_EVENTv2,
			}, e.Header.EventType) {
				return nil
			}
			for _, row := range ev.Rows {
				id, err := strconv.Atoi(fmt.Sprint(row[0]))
				if err != nil {
					return err
				}
				rows++
				for i := range table.Columns {
					c := &table.Columns[i]
					if got := ours[id].texts[i]; !sameAsReference(c, got, row[i]) && faults < 30 {
						faults++
						f.t.Errorf("row %d, %s %s: we have %.200q, go-mysql %.200q", id, c.Name,
							c.SQLType, got, fmt.Sprintf("%T %[1]v", row[i]))
					}
				}
			}
			return nil
		},
	)
	if err != nil || rows != len(ours) {
		f.t.Errorf("go-mysql found %d of %d rows, %v", rows, len(ours), err)
	}
}

// sameAsReference compares a text with a value of go-mysql, which does not apply the schema: signs,
// labels and character sets are left to its caller. TestTypes compares JSON with the server's text
// instead.
func sameAsReference(c *binlog.Column, ours string, v any) bool {
	if v == nil || ours == "NULL" {
		return v == nil && ours == "NULL"
	}
	ours = strings.TrimPrefix(ours, "=")
	text := fmt.Sprint(v)
	if b, ok := v.([]byte); ok {
		text = string(b)
	}
	switch c.Type {
	case binlog.TypeJSON, binlog.TypeVector, binlog.TypeUUID, binlog.TypeInet4, binlog.TypeInet6:
		return true
	case binlog.TypeTinyInt,
		binlog.TypeSmallInt,
		binlog.TypeMediumInt,
		binlog.TypeInt,
		binlog.TypeBigInt,
		binlog.TypeBit:
		n, _ := strconv.ParseInt(text, 10, 64)
		bits := map[binlog.Type]int{
			binlog.TypeTinyInt: 8, binlog.TypeSmallInt: 16,
			binlog.TypeMediumInt: 24, binlog.TypeInt: 32,
		}[c.Type]
		if (c.Unsigned || c.Type == binlog.TypeBit) && n < 0 {
			if bits == 0 {
				return ours == strconv.FormatUint(uint64(n), 10)
			}
			n += 1 << bits
		}
		if _, isUnsigned := v.(uint64); isUnsigned {
			return ours == text
		}
		return ours == strconv.FormatInt(n, 10)
	case binlog.TypeTime:
		// It leaves a fraction of zeros out.
		if !strings.Contains(text, ".") && c.Decimals > 0 {
			text += "." + strings.Repeat("0", c.Decimals)
		}
	case binlog.TypeYear:
		return ours == text || ours == "0000" && (text == "0" || text == "1900")
	case binlog.TypeDecimal:
		a, okA := new(big.Rat).SetString(ours)
		b, okB := new(big.Rat).SetString(text)
		return okA && okB && a.Cmp(b) == 0
	case binlog.TypeFloat, binlog.TypeDouble:
		a, errA := strconv.ParseFloat(ours, 64)
		switch v := v.(type) {
		case float32:
			return errA == nil && float32(a) == v
		case float64:
			return errA == nil && a == v
		}
		return false
	case binlog.TypeEnum:
		n, err := strconv.Atoi(text)
		return err == nil && (n == 0 && ours == "" || n > 0 && ours == c.Values[n-1])
	case binlog.TypeSet:
		n, err := strconv.ParseInt(text, 10, 64)
		var members []string
		for i, m := range c.Values {
			if uint64(n)>>i&1 != 0 {
				members = append(members, m)
			}
		}
		return err == nil && ours == strings.Join(members, ",")
	case binlog.TypeBinary:
		return strings.TrimRight(ours, "\x00") == strings.TrimRight(text, "\x00")
	case binlog.TypeChar, binlog.TypeVarchar, binlog.TypeText:
		if d, _ := charset.Find(c.Charset, charset.MySQL); d != nil {
			text = string(d.Append(nil, []byte(text)))
		}
	}
	return ours == text
}
