package binlog_test

import (
	"errors"
	"strings"
	"testing"

	"rowfall/binlog"
)

func TestLayoutErrors(t *testing.T) {
	tests := []struct {
		name   string
		column binlog.Column
		types  string
		meta   string
		want   []string
	}{
		{
			"varchar length",
			binlog.Column{
				Type: binlog.TypeVarchar, Length: 10, Charset: "utf8mb4",
				SQLType: "varchar(10)",
			},
			"\x0f",
			"\x50\x00",
			[]string{"d.t.c", "VARCHAR of 80 bytes", "varchar(10)", "binlog_row_metadata=FULL"},
		},
		{
			"decimal scale",
			binlog.Column{
				Type: binlog.TypeDecimal, Length: 10, Decimals: 2,
				SQLType: "decimal(10,2)",
			},
			"\xf6",
			"\x0a\x03",
			[]string{"DECIMAL(10,3)", "decimal(10,2)"},
		},
		{
			"fraction",
			binlog.Column{Type: binlog.TypeDatetime, Decimals: 3, SQLType: "datetime(3)"},
			"\x12", "\x06",
			[]string{"DATETIME(6)", "datetime(3)"},
		},
		{
			"old fraction",
			binlog.Column{Type: binlog.TypeDatetime, Decimals: 3, SQLType: "datetime(3)"},
			"\x0c",
			"",
			[]string{"old format", "datetime(3)"},
		},
		{
			"enum members",
			binlog.Column{Type: binlog.TypeEnum, Values: []string{"a"}, SQLType: "enum('a')"},
			"\xfe", "\xf7\x02",
			[]string{"ENUM of 2 bytes"},
		},
		{
			"blob size",
			binlog.Column{Type: binlog.TypeBlob, SQLType: "mediumblob"},
			"\xfc", "\x02",
			[]string{"with 2 length bytes", "mediumblob"},
		},
		{
			"compressed",
			binlog.Column{Type: binlog.TypeVarchar, Length: 10, SQLType: "varchar(10)"},
			"\x8d", "\x0c\x00",
			[]string{"COMPRESSED VARCHAR of 12 bytes", "varchar(10)"},
		},
		{
			"system versioning",
			binlog.Column{Type: binlog.TypeInt, SQLType: "int"},
			"\x03\x11\x11",
			"\x06\x06",
			[]string{"d.t", "SYSTEM VERSIONING"},
		},
		{
			"unknown",
			binlog.Column{Type: binlog.TypeText, SQLType: "text"},
			"\x99", "",
			[]string{"unknown type (153)"},
		},
	}
	for _, test := range tests {
		_, err := binlog.NewImageLayout(
			one(test.column), []byte(test.types), []byte(test.meta), false)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", test.name, err, want)
			}
		}
	}
}

// A column that SELECT reads and the binlog does not was refused when the whole
// table had been read.
func TestCheckReadable(t *testing.T) {
	for _, test := range []struct {
		column binlog.Column
		want   string
	}{
		{
			binlog.Column{Type: binlog.TypeVarchar, Charset: "cp1258"},
			"d.t.c cannot be read from the binlog: character set cp1258 is not known",
		},
		{binlog.Column{Type: binlog.TypeVarchar, Charset: "cp1251"}, ""},
		{
			binlog.Column{SQLType: "xmltype", Unreadable: "type xmltype is not supported"},
			"type xmltype is not supported, exclude the column",
		},
		{binlog.Column{Type: binlog.TypeText, SQLType: "text /*M!100301 COMPRESSED*/"}, ""},
		{binlog.Column{Type: binlog.TypeChar, Charset: "latin1"}, ""},
	} {
		err := one(test.column).CheckReadable(nil)
		if err := one(test.column).CheckReadable(func(int) bool { return true }); err != nil {
			t.Errorf("%s is excluded: %v", test.column.SQLType, err)
		}
		if test.want == "" && err != nil {
			t.Errorf("%s: %v", test.column.SQLType, err)
		}
		var refused *binlog.RefusedError
		if test.want != "" &&
			(!errors.As(err, &refused) || refused.Table != "d.t" ||
				!strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.column.SQLType, err, test.want)
		}
	}
}

func TestSelectExpr(t *testing.T) {
	for _, test := range []struct {
		c    binlog.Column
		want string
	}{
		{binlog.Column{Type: binlog.TypeInt}, "`c`"},
		{binlog.Column{Type: binlog.TypeFloat}, "`c`*1e0"},
		{binlog.Column{Type: binlog.TypeDouble}, "`c`*1e0"},
		{binlog.Column{Type: binlog.TypeBit, Length: 3}, "`c`+0"},
	} {
		if got := binlog.SelectExpr(&test.c, "`c`"); got != test.want {
			t.Errorf("%v: %s, want %s", test.c.Type, got, test.want)
		}
	}
}
