package replication_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		childProcess()
		return
	}
	if os.Getenv(memberEnv) != "" {
		memberProcess()
		return
	}
	if os.Getenv(followersEnv) != "" {
		followersProcess()
		return
	}
	goleak.VerifyTestMain(m)
}

// long is set if the long tests run, too.
var long = os.Getenv("ROWFALL_LONG") == "1"
