package dump

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"rowfall/internal/benchrow"
)

// costSizes returns the sizes in bytes of the packets of a transaction: the events GTID, BEGIN,
// table map, rows and XID, each with a status byte, its header and its checksum.
func costSizes(rows int) []int {
	images := 0
	for i := range rows {
		images += len(benchrow.AppendImage(nil, i))
	}
	return []int{80, 62, 83, 1 + 19 + 12 + images + 4, 32}
}

// BenchmarkCostRead reads the packets of transactions from a file. This needs about the same system
// calls and copies as reads from a socket that has received the packets already.
func BenchmarkCostRead(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			var all []byte
			sizes, transactions := costSizes(rows), 10_000/rows
			for range transactions {
				for i, n := range sizes {
					all = append(all, byte(n), byte(n>>8), byte(n>>16), byte(i))
					all = append(all, make([]byte, n)...)
				}
			}
			path := filepath.Join(b.TempDir(), "packets")
			if err := os.WriteFile(path, all, 0o600); err != nil {
				b.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			var p packetBuffer
			meter := benchrow.Start(b)
			for b.Loop() {
				if _, err := file.Seek(0, io.SeekStart); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < transactions*len(sizes); {
					if _, ok := p.next(); ok {
						n++
						continue
					}
					if err := p.fill(file); err != nil {
						b.Fatal(err)
					}
				}
			}
			meter.Report(b.N * transactions * rows)
		})
	}
}
