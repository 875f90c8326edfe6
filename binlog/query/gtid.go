package query

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// MissingGTIDs returns the transactions of a set that the server does not have. The server must
// have GTIDs (mysql.Server.GTIDMode).
//
// Neither server rejects such a position in all cases. MySQL does not check transactions of other
// servers, and MariaDB does not check domains that are absent from its binlog: both would send
// everything that they have.
func MissingGTIDs(
	ctx context.Context, c *mysql.Conn, set *binlog.GTIDSet,
) (missing binlog.GTIDSet, err error) {
	if c.Server().Flavor == mysql.MariaDB {
		return missingFromMariaDB(ctx, c, set)
	}
	return missingFromMySQL(ctx, c, set)
}

// missingFromMySQL waits up to a second for transactions that are in the binlog but not committed
// yet. A commit that waits for a semi-synchronous replica takes longer. Its GTID is in gtid_owned
// meanwhile, and counts as executed.
func missingFromMySQL(
	ctx context.Context, c *mysql.Conn, set *binlog.GTIDSet,
) (binlog.GTIDSet, error) {
	executed, _, err := WaitExecuted(ctx, c, *set, time.Second)
	if err != nil || executed {
		return binlog.GTIDSet{}, err
	}
	has, err := gtidSet(ctx, c, executedOrOwned)
	return set.Subtract(&has), err
}

// executedOrOwned is the expression for the transactions of a MySQL that are executed, and for
// those that are being executed. The latter may be visible already.
const executedOrOwned = "CONCAT_WS(',', NULLIF(@@GLOBAL.gtid_owned, ''), " +
	"NULLIF(@@GLOBAL.gtid_executed, ''))"

// missingFromMariaDB subtracts what the server has logged and what it has replicated. With
// gtid_strict_mode=OFF the last sequence of a domain need not be the highest: a replica may commit
// 0-2-15 and then replicate 0-1-7. So the last sequence of each server counts, too. In a domain
// that is absent from both, only the server's own transactions count as missing. The server
// itself decides about the others when the dump starts.
func missingFromMariaDB(
	ctx context.Context, c *mysql.Conn, set *binlog.GTIDSet,
) (binlog.GTIDSet, error) {
	logged, err := gtidSet(ctx, c, "@@GLOBAL.gtid_binlog_pos")
	if err != nil {
		return binlog.GTIDSet{}, err
	}
	replicated, err := gtidSet(ctx, c, "@@GLOBAL.gtid_slave_pos")
	if err != nil {
		return binlog.GTIDSet{}, err
	}
	missing := set.Subtract(&logged)
	missing = missing.Subtract(&replicated)
	if !missing.IsZero() {
		// A list of the last GTIDs of each domain and server.
		state, err := queryValue(ctx, c, "SELECT @@GLOBAL.gtid_binlog_state")
		if err != nil {
			return binlog.GTIDSet{}, err
		}
		if missing, err = withoutState(missing, state); err != nil {
			return binlog.GTIDSet{}, err
		}
	}
	id := c.Server().ServerID
	return missing.Filter(func(g binlog.GTID) bool {
		l, r := logged.LastOf(g.Domain), replicated.LastOf(g.Domain)
		return g.Server == id || !l.IsZero() || !r.IsZero()
	}), nil
}

// withoutState removes the GTIDs from a MariaDB's set that its gtid_binlog_state includes.
func withoutState(set binlog.GTIDSet, state string) (binlog.GTIDSet, error) {
	type stream struct{ domain, server uint32 }
	last := make(map[stream]uint64)
	for text := range strings.SplitSeq(state, ",") {
		g, err := binlog.ParseGTID(strings.TrimSpace(text))
		if err != nil {
			return set, fmt.Errorf("read gtid_binlog_state: %w", err)
		}
		last[stream{g.Domain, g.Server}] = g.Sequence
	}
	return set.Filter(func(g binlog.GTID) bool {
		return last[stream{g.Domain, g.Server}] < g.Sequence
	}), nil
}

// ownerThreads matches the thread ids in gtid_owned: "uuid:5#31#32:7#33".
var ownerThreads = regexp.MustCompile(`#[0-9]+`)

// gtidSet reads the GTID set that an SQL expression returns.
func gtidSet(ctx context.Context, c *mysql.Conn, expression string) (binlog.GTIDSet, error) {
	s, err := queryValue(ctx, c, "SELECT "+expression)
	if err != nil {
		return binlog.GTIDSet{}, err
	}
	return binlog.ParseGTIDSet(ownerThreads.ReplaceAllString(s, ""))
}
