//go:build !linux

package pacing

import "time"

func sleep(d time.Duration) { time.Sleep(d) }
