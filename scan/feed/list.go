package feed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/ecruhq/ecru/advisory"
)

// A list is what was read of a modified_id.csv.
type list struct {
	rows   []advisory.Listed
	whole  bool // to its end
	newest time.Time
}

// readList reads a modified_id.csv. It stops after the first row from before a
// time, unless that is zero or the list is not in order, newest first.
func readList(r io.Reader, until time.Time) (*list, error) {
	limited := &io.LimitedReader{R: r, N: maxList}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 4096), maxListLine)
	l := &list{whole: true}
	sorted, last := true, time.Time{}
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			continue
		}
		text, id, _ := strings.Cut(line, ",")
		modified, err := stamp(text)
		if err != nil || !recordID(id) {
			return nil, fmt.Errorf("line %d, %.100q, is not modified,ID", n, line)
		}
		if len(l.rows) == maxListed {
			return nil, fmt.Errorf("more than %d records", maxListed)
		}
		sorted = sorted && (last.IsZero() || !modified.After(last))
		last = modified
		if modified.After(l.newest) {
			l.newest = modified
		}
		if sorted && modified.Before(until) {
			l.whole = false
			return l, nil
		}
		l.rows = append(l.rows, advisory.Listed{ID: strings.Clone(id), Modified: modified})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("more than %d bytes", int64(maxList))
	}
	if len(l.rows) == 0 {
		return nil, errors.New("it has no records")
	}
	return l, nil
}

// recordID reports whether an ID can be the name of a file.
func recordID(id string) bool {
	return len(id) <= 256 && id != "." && fs.ValidPath(id) && !strings.ContainsAny(id, "/\\\x00,") && !strings.HasPrefix(id, ".")
}
