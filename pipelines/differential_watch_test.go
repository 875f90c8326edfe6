package pipelines_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// watch checks the data after every unit, or samples of them: a row that stays in MySQL stays in
// the data, and each hash is a row as it was at some moment. Every row has a column fixed, "f" and
// the row's id, and a counter n that increases with each change.
type watch struct {
	mu sync.Mutex
	// pinned are the keys of rows that stay, with whether the data have had them.
	pinned map[string]bool
	// counters are the last counters of keys.
	counters map[string]int64
	// unordered are the tables that get rows with lower counters.
	unordered map[string]bool
	// checks counts the calls of check.
	checks int
	// wrong is what was found first.
	wrong string
}

func (w *watch) found() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrong
}

func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.checks
}

func (w *watch) pin(keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pinned == nil {
		w.pinned = make(map[string]bool)
	}
	for _, k := range keys {
		w.pinned[k] = false
	}
}

func (w *watch) unpin(tables, unordered []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range tables {
		for k := range w.pinned {
			if strings.HasPrefix(k, t+":") {
				delete(w.pinned, k)
			}
		}
	}
	if w.unordered == nil {
		w.unordered = make(map[string]bool)
	}
	for _, t := range unordered {
		w.unordered[t] = true
	}
}

// hashes are keys with their fields: a keyspace, or a sample of one.
type hashes interface {
	HashFields(key string) (map[string]string, bool)
	Each(prefix string, visit func(key string))
}

// pinnedKeys returns the keys of rows that stay.
func (w *watch) pinnedKeys() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.pinned))
}

// check is called after each unit, or with a sample.
func (w *watch) check(m hashes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks++
	if w.wrong != "" {
		return
	}
	for key, seen := range w.pinned {
		_, ok := m.HashFields(key)
		if seen && !ok {
			w.wrong = fmt.Sprintf("%s is gone, and MySQL has the row all the time", key)
		}
		w.pinned[key] = ok
	}
	if w.counters == nil {
		w.counters = make(map[string]int64)
	}
	m.Each("", func(key string) {
		table, _, ok := strings.Cut(key, ":")
		if !ok || table == "rowfall" || table == "x" {
			return
		}
		fields, ok := m.HashFields(key)
		if !ok {
			return
		}
		w.checkRow(table, key, fields)
	})
}

// checkRow checks a hash.
func (w *watch) checkRow(table, key string, fields map[string]string) {
	id, _, _ := strings.Cut(strings.TrimPrefix(key, table+":"), ":")
	if table == "two" {
		parts := strings.Split(key, ":")
		table, id = parts[0]+":"+parts[1], parts[2]
	}
	if fields["fixed"] != "f"+id {
		w.wrong = fmt.Sprintf("%s holds a row with fixed %q: %v", key, fields["fixed"], fields)
	}
	if id != fields["id"] {
		w.wrong = fmt.Sprintf("%s holds a row with id %q: %v", key, fields["id"], fields)
	}
	n, _ := strconv.ParseInt(fields["n"], 10, 64)
	if last := w.counters[key]; n < last && !w.unordered[table] {
		w.wrong = fmt.Sprintf("%s holds an old row: the counter is %d and was %d", key, n, last)
	}
	w.counters[key] = n
}
