package replication

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A link is the line from one region to another: what comes in at its address
// goes on to the other's server, wherever that listens by now.
type link struct {
	listener net.Listener
	sent     atomic.Int64 // bytes towards the other region

	mu    sync.Mutex
	to    string // "" while the server is down
	cut   bool
	delay time.Duration
	open  map[net.Conn]bool
}

func newLink(t testing.TB) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, open: map[net.Conn]bool{}}
	go k.serve()
	t.Cleanup(func() { l.Close(); k.set(func() { k.cut = true }) })
	return k
}

func (k *link) url() string { return "http://" + k.listener.Addr().String() }

// set changes the link; connections end if it is cut.
func (k *link) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	if k.cut {
		for c := range k.open {
			c.Close()
		}
		clear(k.open)
	}
}

func (k *link) serve() {
	for {
		in, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.mu.Lock()
		to, cut := k.to, k.cut
		k.mu.Unlock()
		if cut || to == "" {
			in.Close()
			continue
		}
		go k.carry(in, to)
	}
}

func (k *link) carry(in net.Conn, to string) {
	out, err := net.Dial("tcp", to)
	if err != nil {
		in.Close()
		return
	}
	k.mu.Lock()
	k.open[in], k.open[out] = true, true
	k.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { k.copy(out, in, &k.sent) })
	wg.Go(func() { k.copy(in, out, new(atomic.Int64)) })
	wg.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.open, in)
	delete(k.open, out)
}

// copy carries bytes one way, late by the link's delay, and ends both ways.
func (k *link) copy(dst, src net.Conn, count *atomic.Int64) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			k.mu.Lock()
			late := k.delay
			k.mu.Unlock()
			if late > 0 {
				<-time.After(late)
			}
			m, err := dst.Write(buf[:n])
			count.Add(int64(m))
			if err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				return
			}
			return
		}
	}
}
