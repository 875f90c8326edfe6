package replication_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// losses kills members of a cascade at random. It records the offset of each member, and computes
// which members can continue with a partial resync.
type losses struct {
	cascade
	disconnected  *member         // its link was cut before the master was lost; nil: none
	offsetOf      map[*member]int // the members' offsets when the master was lost
	knownUpTo     map[*member]int // last offset under the lost master's id; absent: id unknown
	savedOffset   map[*member]int // the offset of a real server's dump file
	wantFullSyncs int             // full resyncs so far
}

// injectLoss cuts or kills a random member, and then acts as an operator does.
func (l *losses) injectLoss() {
	l.t.Helper()
	m := l.members[l.rnd.IntN(len(l.members))]
	switch what := l.rnd.IntN(4); {
	case what == 0:
		l.t.Log("cut the links of ", m.name())
		m.c.ClientKillByFilter(l.t.Context(), "TYPE", "replica")
	case what == 1 && m != l.currentMaster():
		l.loseInner(m)
	default:
		l.loseMaster()
	}
	l.checkAndSave()
}

// checkAndSave waits until all members are equal, checks the number of full resyncs, and saves the
// data of the real servers, which is what a kill leaves of them.
func (l *losses) checkAndSave() {
	l.t.Helper()
	defer l.quiesce()()
	full := 0
	for _, m := range l.members {
		full += m.full + m.fullSyncs()
		if !m.isNode() {
			m.save()
			l.savedOffset[m] = l.number(l.offset(m))
		}
	}
	if full != l.wantFullSyncs {
		l.t.Fatalf("%d full resyncs, want %d", full, l.wantFullSyncs)
	}
	for _, m := range l.members {
		if long {
			equal(l.t, l.currentMaster().addr, m.addr)
		}
	}
}

// loseInner kills a member that is not the master. Its replicas move to other members, and the
// killed one restarts below another member. No member has data that the others lack.
func (l *losses) loseInner(lost *member) {
	l.t.Helper()
	l.t.Log("kill ", lost.name())
	lost.kill()
	l.load.Lock()
	defer l.load.Unlock()
	l.waitIdle(lost)
	placed := l.subtree(l.currentMaster(), lost)
	for _, m := range l.members {
		if m.up == lost {
			l.attach(m, placed)
			placed = append(placed, l.subtree(m, lost)...)
		}
	}
	l.rejoin(lost, placed)
}

// loseMaster kills the master and promotes a random member. A member with bytes of the old id that
// its new upstream lacks needs a full resync, and so do the members below it. No other member needs
// one.
func (l *losses) loseMaster() {
	l.t.Helper()
	lost := l.currentMaster()
	if m := l.members[l.rnd.IntN(len(l.members))]; m != lost && l.rnd.IntN(2) == 0 {
		l.t.Log("disconnect ", m.name())
		l.disconnected = m
		m.do("REPLICAOF", "127.0.0.1", "1") // where no server listens
		before := l.offset(lost)
		eventually(l.t, "the other members continue",
			func() bool { return l.offset(lost) != before })
	}
	lost.kill()
	l.load.Lock()
	locked := true
	unlock := func() {
		if locked {
			locked = false
			l.load.Unlock()
		}
	}
	defer unlock()
	l.waitIdle(lost)
	l.offsetOf = map[*member]int{}
	for _, m := range l.members {
		if m != lost {
			l.offsetOf[m] = l.number(field(m.c, "replication", "slave_repl_offset"))
		}
	}
	promoted := lost
	for promoted == lost {
		promoted = l.members[l.rnd.IntN(len(l.members))]
	}
	l.t.Logf("kill the master %s, promote %s", lost.name(), promoted.name())
	var orphans []*member
	for _, m := range l.members {
		if m != lost && m != promoted && (m.up == lost || m == l.disconnected) {
			orphans = append(orphans, m)
		}
	}
	l.knownUpTo = map[*member]int{}
	promoted.follow(nil)
	l.mu.Lock()
	l.master = promoted
	l.mu.Unlock()
	l.knownUpTo[promoted] = l.offsetOf[promoted]
	placed := l.subtree(promoted, lost)
	for _, m := range placed[1:] {
		l.countResync(m)
	}
	if l.rnd.IntN(2) == 0 { // the others attach while the new master writes
		unlock()
	}
	for _, m := range orphans {
		l.attach(m, placed)
		moved := l.subtree(m, lost)
		for _, m := range moved {
			l.countResync(m)
		}
		placed = append(placed, moved...)
	}
	l.disconnected = nil
	if lost.isNode() {
		lost.start()
		l.offsetOf[lost] = l.number(field(lost.c, "replication", "master_repl_offset"))
	} else {
		l.offsetOf[lost] = l.savedOffset[lost]
	}
	l.rejoin(lost, placed)
	l.countResync(lost)
}

// countResync computes whether m needs a full resync from its upstream, whose knownUpTo is already
// set.
func (l *losses) countResync(m *member) {
	knownUpTo, known := l.knownUpTo[m.up]
	if known && l.offsetOf[m] <= knownUpTo {
		l.knownUpTo[m] = l.offsetOf[m]
		return
	}
	l.t.Logf("%s needs a full resync: its offset is %d, and %s knows the id up to %d",
		m.name(), l.offsetOf[m], m.up.name(), knownUpTo)
	l.wantFullSyncs++
}

func (l *losses) number(text string) int {
	l.t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// waitIdle waits until no offset changes: members without an upstream show the link as down, and
// all others have the offset of their upstream.
func (l *losses) waitIdle(lost *member) {
	l.t.Helper()
	offset := func(m *member) string {
		if m.up == nil {
			return field(m.c, "replication", "master_repl_offset")
		}
		return field(m.c, "replication", "slave_repl_offset")
	}
	eventually(l.t, "no offset changes", func() bool {
		for _, m := range l.members {
			if m == lost || m.up == nil {
				continue
			}
			link := field(m.c, "replication", "master_link_status")
			if m.up == lost || m == l.disconnected {
				if link != "down" {
					return false
				}
			} else if link != "up" || offset(m) != offset(m.up) {
				return false
			}
		}
		return true
	})
}

// attach makes m follow one of the placed members.
func (l *losses) attach(m *member, placed []*member) {
	l.t.Helper()
	up := l.randomUpstream(placed)
	l.t.Logf("%s follows %s", m.name(), up.name())
	m.follow(up)
}

// randomUpstream returns one of the placed members as soon as it has the master's id. Before that
// it would still serve the former id, and the number of full resyncs would depend on timing.
func (l *losses) randomUpstream(placed []*member) *member {
	l.t.Helper()
	up := placed[l.rnd.IntN(len(placed))]
	id := func(m *member) string { return field(m.c, "replication", "master_replid") }
	eventually(l.t, up.name()+" has the master's id",
		func() bool { return id(up) == id(l.currentMaster()) })
	return up
}

// rejoin makes a lost member follow one of the others. A real server gets its upstream at the
// start, because it does not keep its last one.
func (l *losses) rejoin(lost *member, placed []*member) {
	l.t.Helper()
	lost.up = l.randomUpstream(placed)
	l.t.Logf("%s restarts below %s", lost.name(), lost.up.name())
	if !lost.isNode() || lost.cmd.ProcessState != nil {
		lost.start()
	}
	if lost.isNode() {
		lost.follow(lost.up)
	}
}

// subtree returns a member and all reachable members below it, from the top down.
func (l *losses) subtree(top, lost *member) []*member {
	list := []*member{top}
	for i := 0; i < len(list); i++ {
		for _, m := range l.members {
			if m.up == list[i] && m != lost && m != l.disconnected {
				list = append(list, m)
			}
		}
	}
	return list
}

// In random cascades of nodes and real servers, under load, masters and other members are killed,
// another member is promoted, lost members return as replicas, and links are cut. The number of
// full resyncs is exactly the number of members with data that no other member has.
func TestCascadesLoseMembers(t *testing.T) {
	t.Parallel()
	servertest.Need(t, servers.Redis, servers.Valkey)
	seeds, steps := 1, 8
	if long {
		seeds, steps = 4, 30
	}
	for seed := range randomSeeds(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { loseMembers(t, seed, steps) })
	}
}

func loseMembers(t *testing.T, seed uint64, steps int) {
	l := &losses{
		cascade:     cascade{t: t, rnd: rand.New(rand.NewPCG(seed, 0))},
		savedOffset: map[*member]int{},
	}
	// All servers of a cascade are of one kind: an older server cannot load the snapshot of a newer
	// one.
	kind := []servers.Kind{servers.Redis, servers.Valkey}[seed%2]
	for i := range 6 {
		if i == 0 {
			m := newNode(t, 1<<30)
			m.do("COMPLETE")
			l.members, l.master = append(l.members, m), m
			continue
		}
		up := l.members[l.rnd.IntN(i)]
		var m *member
		if i%3 == 2 {
			m = newServer(t, kind, up)
		} else {
			m = newNode(t, 1<<30)
			m.follow(up)
		}
		t.Logf("%s is below %s", m.name(), up.name())
		l.members = append(l.members, m)
	}
	l.wantFullSyncs = len(l.members) - 1
	done := make(chan struct{})
	var writer sync.WaitGroup
	stop := sync.OnceFunc(func() { close(done); writer.Wait() })
	defer stop()
	l.checkAndSave()
	writer.Go(func() { l.write(done) })
	for range steps {
		l.injectLoss()
	}
	resume := l.quiesce()
	for _, m := range l.members {
		equal(t, l.currentMaster().addr, m.addr)
	}
	resume()
	stop()
}
