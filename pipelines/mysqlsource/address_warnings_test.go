package mysqlsource

import "testing"

// Several addresses are a fault of the file if the server has no GTIDs.
func TestAddressWarnings(t *testing.T) {
	for _, test := range []struct {
		addresses int
		hasGTIDs  bool
		want      int
	}{{1, false, 0}, {1, true, 0}, {2, true, 0}, {2, false, 1}} {
		if got := addressWarnings(test.addresses, test.hasGTIDs); len(got) != test.want {
			t.Errorf("%+v: the warnings are %v", test, got)
		}
	}
}
