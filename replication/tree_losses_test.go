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

// losses is a tree whose members are lost without a warning, and what that must
// cost. It knows who has which bytes when nothing moves, and so who can go on.
type losses struct {
	tree
	cut   *place         // lost the link to its upstream a while ago; nil: nobody
	at    map[*place]int // where everybody stood when the master was lost
	upTo  map[*place]int // up to where each knows the id of that time; absent: not at all
	saved map[*place]int // the offset of a real server's dump file
	want  int            // full resyncs so far
}

// lose has a random thing happen, and what an operator does about it.
func (l *losses) lose() {
	l.t.Helper()
	p := l.all[l.rnd.IntN(len(l.all))]
	switch what := l.rnd.IntN(4); {
	case what == 0:
		l.t.Log("cut the links of ", p.name())
		p.c.ClientKillByFilter(l.t.Context(), "TYPE", "replica")
	case what == 1 && p != l.top():
		l.loseInner(p)
	default:
		l.loseMaster()
	}
	l.keep()
}

// keep waits until all are equal, counts, and has the real servers keep what they
// have: what a kill leaves of them.
func (l *losses) keep() {
	l.t.Helper()
	defer l.settle()()
	full := 0
	for _, p := range l.all {
		full += p.full + p.given()
		if !p.ours() {
			p.save()
			l.saved[p] = l.number(l.offset(p))
		}
	}
	if full != l.want {
		l.t.Fatalf("%d full resyncs, want %d", full, l.want)
	}
	for _, p := range l.all {
		if long {
			equal(l.t, l.top().addr, p.addr)
		}
	}
}

// loseInner kills one in the middle. Those below it go elsewhere, and it comes
// back elsewhere; nobody has anything that the others lack.
func (l *losses) loseInner(lost *place) {
	l.t.Helper()
	l.t.Log("lose ", lost.name())
	lost.kill()
	l.load.Lock()
	defer l.load.Unlock()
	l.still(lost)
	placed := l.below(l.top(), lost)
	for _, p := range l.all {
		if p.up == lost {
			l.under(p, placed)
			placed = append(placed, l.below(p, lost)...)
		}
	}
	l.comeBack(lost, placed)
}

// loseMaster kills the master and promotes anybody. Whoever has bytes of the old
// id that its new upstream lacks needs all of the data, and so do those below it;
// nobody else does.
func (l *losses) loseMaster() {
	l.t.Helper()
	lost := l.top()
	if p := l.all[l.rnd.IntN(len(l.all))]; p != lost && l.rnd.IntN(2) == 0 {
		l.t.Log("cut off ", p.name())
		l.cut = p
		p.must("REPLICAOF", "127.0.0.1", "1") // where nobody is
		before := l.offset(lost)
		eventually(l.t, "the others go on", func() bool { return l.offset(lost) != before })
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
	l.still(lost)
	l.at = map[*place]int{}
	for _, p := range l.all {
		if p != lost {
			l.at[p] = l.number(field(p.c, "replication", "slave_repl_offset"))
		}
	}
	heir := lost
	for heir == lost {
		heir = l.all[l.rnd.IntN(len(l.all))]
	}
	l.t.Logf("lose the master %s, promote %s", lost.name(), heir.name())
	var orphans []*place
	for _, p := range l.all {
		if p != lost && p != heir && (p.up == lost || p == l.cut) {
			orphans = append(orphans, p)
		}
	}
	l.upTo = map[*place]int{}
	heir.follow(nil)
	l.mu.Lock()
	l.master = heir
	l.mu.Unlock()
	l.upTo[heir] = l.at[heir]
	placed := l.below(heir, lost)
	for _, p := range placed[1:] {
		l.charge(p)
	}
	if l.rnd.IntN(2) == 0 { // the others come to a master that goes on
		unlock()
	}
	for _, p := range orphans {
		l.under(p, placed)
		subtree := l.below(p, lost)
		for _, p := range subtree {
			l.charge(p)
		}
		placed = append(placed, subtree...)
	}
	l.cut = nil
	if lost.ours() {
		lost.start()
		l.at[lost] = l.number(field(lost.c, "replication", "master_repl_offset"))
	} else {
		l.at[lost] = l.saved[lost]
	}
	l.comeBack(lost, placed)
	l.charge(lost)
}

// charge says what it costs p to go on under its upstream, which knows already.
func (l *losses) charge(p *place) {
	upTo, knows := l.upTo[p.up]
	if knows && l.at[p] <= upTo {
		l.upTo[p] = l.at[p]
		return
	}
	l.t.Logf("%s has to take all: it is at %d, and %s goes up to %d", p.name(), l.at[p],
		p.up.name(), upTo)
	l.want++
}

func (l *losses) number(text string) int {
	l.t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// still waits until nothing moves any more: who lost its upstream knows it, and
// everybody else has what its upstream has.
func (l *losses) still(lost *place) {
	l.t.Helper()
	here := func(p *place) string {
		if p.up == nil {
			return field(p.c, "replication", "master_repl_offset")
		}
		return field(p.c, "replication", "slave_repl_offset")
	}
	eventually(l.t, "nothing moves", func() bool {
		for _, p := range l.all {
			if p == lost || p.up == nil {
				continue
			}
			link := field(p.c, "replication", "master_link_status")
			if p.up == lost || p == l.cut {
				if link != "down" {
					return false
				}
			} else if link != "up" || here(p) != here(p.up) {
				return false
			}
		}
		return true
	})
}

// under has p follow any of those who have a place.
func (l *losses) under(p *place, placed []*place) {
	l.t.Helper()
	up := l.any(placed)
	l.t.Logf("%s goes under %s", p.name(), up.name())
	p.follow(up)
}

// any is one of those who have a place, when it goes on under the master's id
// already: before that it hands on what it has under the former one, which is one
// full resync less, or not, as it happens.
func (l *losses) any(placed []*place) *place {
	l.t.Helper()
	up := placed[l.rnd.IntN(len(placed))]
	id := func(p *place) string { return field(p.c, "replication", "master_replid") }
	eventually(l.t, up.name()+" has the master's id", func() bool { return id(up) == id(l.top()) })
	return up
}

// comeBack has a lost member follow one of the others; a real server is started
// so, for it forgets whom it followed last.
func (l *losses) comeBack(lost *place, placed []*place) {
	l.t.Helper()
	lost.up = l.any(placed)
	l.t.Logf("%s comes back under %s", lost.name(), lost.up.name())
	if !lost.ours() || lost.cmd.ProcessState != nil {
		lost.start()
	}
	if lost.ours() {
		lost.follow(lost.up)
	}
}

// below is a member and all under it that can be reached, from the top down.
func (l *losses) below(top, lost *place) []*place {
	list := []*place{top}
	for i := 0; i < len(list); i++ {
		for _, p := range l.all {
			if p.up == list[i] && p != lost && p != l.cut {
				list = append(list, p)
			}
		}
	}
	return list
}

// Masters and inner members of random trees of nodes and real servers are lost,
// another is promoted, the lost one comes back as a replica, links are cut: under
// load, and with exactly as many full resyncs as somebody had what nobody else has.
func TestTreesLoseMembers(t *testing.T) {
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
	l := &losses{tree: tree{t: t, rnd: rand.New(rand.NewPCG(seed, 0))}, saved: map[*place]int{}}
	// One kind in a tree: an older server cannot load what a newer one sends it.
	kind := []servers.Kind{servers.Redis, servers.Valkey}[seed%2]
	for i := range 6 {
		if i == 0 {
			p := newNode(t, 1<<30)
			p.must("COMPLETE")
			l.all, l.master = append(l.all, p), p
			continue
		}
		up := l.all[l.rnd.IntN(i)]
		var p *place
		if i%3 == 2 {
			p = newServer(t, kind, up)
		} else {
			p = newNode(t, 1<<30)
			p.follow(up)
		}
		t.Logf("%s is under %s", p.name(), up.name())
		l.all = append(l.all, p)
	}
	l.want = len(l.all) - 1
	done := make(chan struct{})
	var writer sync.WaitGroup
	stop := sync.OnceFunc(func() { close(done); writer.Wait() })
	defer stop()
	l.keep()
	writer.Go(func() { l.write(done) })
	for range steps {
		l.lose()
	}
	release := l.settle()
	for _, p := range l.all {
		equal(t, l.top().addr, p.addr)
	}
	release()
	stop()
}
