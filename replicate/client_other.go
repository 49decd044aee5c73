//go:build !linux

package replicate

import "syscall"

// giveUp leaves to the system how long a connection outlives a cut line.
func giveUp(_, _ string, _ syscall.RawConn) error { return nil }
