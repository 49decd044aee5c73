package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/klauspost/compress/gzip"

	"github.com/ecruhq/ecru/vuln"
)

// The stored form of an inventory is gzip of lines: JSON of the inventory without
// packages and sets; for each package, in order, packageLine and its JSON; for
// each set setLine, the key of pvs, a space and the JSON of the vuln.Set. So a few
// sets are read without the rest. Earlier there was the first line alone, with
// everything in it.
const (
	packageLine = 'p'
	setLine     = 's'
)

// maxInventory bounds the stored form of an inventory, inflated.
const maxInventory = 512 << 20

// encode is the stored form.
func (inv *Inventory) encode() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	line := func(v any, prefix string) error {
		text, err := json.Marshal(v)
		if err == nil {
			_, err = fmt.Fprintf(z, "%s%s\n", prefix, text)
		}
		return err
	}
	head := *inv
	head.Packages, head.Sets = nil, nil
	err := line(&head, "")
	for i := range inv.Packages {
		err = errors.Join(err, line(&inv.Packages[i], string(packageLine)))
	}
	for i := range inv.Sets {
		err = errors.Join(err, line(&inv.Sets[i].Set, string(setLine)+strconv.FormatInt(inv.Sets[i].PV, 10)+" "))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decodeInventory(body []byte) (*Inventory, error) { return new(inventoryDecoder).decode(body, nil) }

// An inventoryDecoder reads stored inventories, one after the other.
type inventoryDecoder struct {
	z    gzip.Reader
	text bytes.Buffer
}

var errInventory = errors.New("a stored inventory is damaged: scan the image again")

// decode returns an inventory. If wanted, sorted, is not nil, it has only the
// sets of these keys, and of its packages only those in them are filled in.
func (d *inventoryDecoder) decode(body []byte, wanted []int64) (*Inventory, error) {
	d.text.Reset()
	err := d.z.Reset(bytes.NewReader(body))
	if err == nil {
		_, err = d.text.ReadFrom(io.LimitReader(&d.z, maxInventory))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInventory, err)
	}
	inv := new(Inventory)
	head, rest, _ := bytes.Cut(d.text.Bytes(), []byte("\n"))
	if err := json.Unmarshal(head, inv); err != nil {
		return nil, fmt.Errorf("%w: %w", errInventory, err)
	}
	if wanted != nil {
		inv.Sets = slices.DeleteFunc(inv.Sets, func(s PVSet) bool { return !has(wanted, s.PV) })
	}
	if err := inv.readLines(rest, wanted); err != nil {
		return nil, fmt.Errorf("%w: %w", errInventory, err)
	}
	return inv, nil
}

func has(sorted []int64, key int64) bool {
	_, found := slices.BinarySearch(sorted, key)
	return found
}

// readLines reads the lines of packages and sets.
func (inv *Inventory) readLines(text []byte, wanted []int64) error {
	var packages [][]byte
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		switch {
		case len(line) == 0:
		case line[0] == packageLine:
			packages = append(packages, line[1:])
		case line[0] == setLine:
			if err := inv.readSet(line[1:], wanted); err != nil {
				return err
			}
		default:
			return errors.New("a line of neither a package nor a set")
		}
	}
	if packages == nil {
		return nil
	}
	inv.Packages = make([]vuln.Installed, len(packages))
	if wanted == nil {
		for i, p := range packages {
			if err := json.Unmarshal(p, &inv.Packages[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, s := range inv.Sets {
		for _, n := range s.Packages {
			if n < 0 || n >= len(packages) {
				return errors.New("a set of a package that is not there")
			}
			if err := json.Unmarshal(packages[n], &inv.Packages[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (inv *Inventory) readSet(line []byte, wanted []int64) error {
	key, text, _ := bytes.Cut(line, []byte(" "))
	pv, err := strconv.ParseInt(string(key), 10, 64)
	if err != nil || wanted != nil && !has(wanted, pv) {
		return err
	}
	s := PVSet{PV: pv}
	err = json.Unmarshal(text, &s.Set)
	inv.Sets = append(inv.Sets, s)
	return err
}
