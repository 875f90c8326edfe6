package keyspace

import "rowfall/replication/resp"

// hashReaders are the commands of hashes.
var hashReaders = map[string]*reader{
	"HGET":    {arity: 3, run: hget},
	"HMGET":   {arity: -3, run: hmget},
	"HGETALL": {arity: 2, run: hgetall},
	"HKEYS":   {arity: 2, run: hkeys},
	"HVALS":   {arity: 2, run: hvals},
	"HLEN":    {arity: 2, run: length(Hash)},
	"HEXISTS": {arity: 3, run: hexists},
	"HSTRLEN": {arity: 3, run: hstrlen},
	"HSCAN":   {arity: -3, run: collectionScan(Hash)},
}

func hget(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	if val, ok := v.Field(args[2]); ok {
		w.Bulk(val)
		return
	}
	w.Null()
}

func hmget(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Array(len(args) - 2)
	for _, name := range args[2:] {
		if !w.OK() {
			return
		}
		if val, ok := v.Field(name); ok {
			w.Bulk(val)
		} else {
			w.Null()
		}
	}
}

func hgetall(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Map(v.Len())
	v.Fields(func(f, val []byte) bool {
		w.Bulk(f)
		w.Bulk(val)
		return w.OK()
	})
}

func hkeys(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Array(v.Len())
	v.Fields(func(f, _ []byte) bool {
		w.Bulk(f)
		return w.OK()
	})
}

func hvals(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	w.Array(v.Len())
	v.Fields(func(_, val []byte) bool {
		w.Bulk(val)
		return w.OK()
	})
}

func hexists(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	_, ok = v.Field(args[2])
	w.Int(flag(ok))
}

func hstrlen(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Hash)
	if !ok {
		return
	}
	val, _ := v.Field(args[2])
	w.Int(int64(len(val)))
}
