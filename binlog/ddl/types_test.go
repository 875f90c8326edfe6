package ddl

import (
	"testing"

	"rowfall/binlog"
)

// Every column type has a size in keys: a new type needs a fixed size in its row of binlog's table,
// or a case in fixedSize or in isLong.
func TestEveryTypeHasAKeySize(t *testing.T) {
	// isLong measures these by their length, or rejects them in keys.
	byLength := map[binlog.Type]bool{
		binlog.TypeChar: true, binlog.TypeVarchar: true, binlog.TypeText: true,
		binlog.TypeBinary: true, binlog.TypeVarbinary: true, binlog.TypeBlob: true,
		binlog.TypeJSON: true, binlog.TypeGeometry: true,
		binlog.TypeVector: true, // cannot be part of a key
	}
	for _, kind := range binlog.Types() {
		c := binlog.Column{Type: kind, Length: 10, Values: []string{"a"}}
		if size := fixedSize(&c); size <= 0 && !byLength[kind] {
			t.Errorf("type %d has no size in a key", kind)
		}
	}
}

// The sizes in keys are those that the servers document for their storage.
func TestFixedSize(t *testing.T) {
	for kind, want := range map[binlog.Type]int{
		binlog.TypeTinyInt: 1, binlog.TypeSmallInt: 2, binlog.TypeMediumInt: 3, binlog.TypeInt: 4,
		binlog.TypeBigInt: 8, binlog.TypeFloat: 4, binlog.TypeDouble: 8, binlog.TypeYear: 1,
		binlog.TypeDate: 3, binlog.TypeTime: 3, binlog.TypeDatetime: 5, binlog.TypeTimestamp: 4,
		binlog.TypeUUID: 16, binlog.TypeInet4: 4, binlog.TypeInet6: 16,
	} {
		if got := fixedSize(&binlog.Column{Type: kind}); got != want {
			t.Errorf("type %d takes %d bytes, want %d", kind, got, want)
		}
	}
}
