package replicate

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// giveUp sets how long a connection outlives a cut line (tcp(7),
// TCP_USER_TIMEOUT).
func giveUp(_, _ string, c syscall.RawConn) (err error) {
	controlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheard.Milliseconds()))
	})
	if controlErr != nil {
		return controlErr
	}
	return err
}
