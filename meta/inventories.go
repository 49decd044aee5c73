package meta

import (
	"encoding/binary"
	"errors"
	"slices"
)

// A LayerInventory is what is known of the packages in a layer. Layers are known
// by their bytes, in all repositories at once.
type LayerInventory struct {
	ID        int64
	Digest    string
	Extractor int // version of what made it; 0: there is none yet
	Status    string
	Inflated  int64 // bytes
}

const layerColumns = `id, digest, extractor, status, inflated`

func (tx *Tx) layerInventories(sql string, args ...any) (out []LayerInventory, err error) {
	err = tx.each(func(rs rows) error {
		var l LayerInventory
		err := rs.Scan(&l.ID, &l.Digest, &l.Extractor, &l.Status, &l.Inflated)
		out = append(out, l)
		return err
	}, sql, args...)
	return out, err
}

// EnsureLayers returns the record of each digest, in their order, and makes
// those that are missing, without an inventory.
func (tx *Tx) EnsureLayers(digests []string) ([]LayerInventory, error) {
	out := make([]LayerInventory, 0, len(digests))
	for _, d := range digests {
		if _, err := tx.exec(`insert into layer_inventories (digest) values ($1) on conflict (digest) do nothing`, d); err != nil {
			return nil, err
		}
		l, err := tx.LayerInventory(d)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// LayerInventory returns the record of a layer, or ErrNotFound.
func (tx *Tx) LayerInventory(digest string) (LayerInventory, error) {
	list, err := tx.layerInventories(`select `+layerColumns+` from layer_inventories where digest = $1`, digest)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return LayerInventory{}, err
	}
	return list[0], nil
}

// LayerBody returns the stored form of a layer's inventory, or ErrNotFound.
func (tx *Tx) LayerBody(id int64) (body []byte, err error) {
	err = tx.row([]any{&body}, `select body from layer_inventories where id = $1 and body is not null`, id)
	return body, err
}

// PutLayerInventory stores the inventory of a layer, and returns its record's
// key.
func (tx *Tx) PutLayerInventory(l LayerInventory, body []byte) (id int64, err error) {
	err = tx.row([]any{&id}, `insert into layer_inventories (digest, extractor, status, inflated, body) values ($1, $2, $3, $4, $5)
		on conflict (digest) do update set extractor = excluded.extractor, status = excluded.status, inflated = excluded.inflated, body = excluded.body
		returning id`, l.Digest, l.Extractor, l.Status, l.Inflated, body)
	return id, err
}

// LinkLayers records which layers an image has, from the lowest.
func (tx *Tx) LinkLayers(image int64, layers []int64) error {
	for place, id := range layers {
		if _, err := tx.exec(`insert into image_layers (layer_id, image_id, place) values ($1, $2, $3) on conflict (layer_id, image_id) do nothing`,
			id, image, place); err != nil {
			return err
		}
	}
	return nil
}

// SweepLayerInventories deletes those that belong to no image, limit at most,
// and returns how many.
func (tx *Tx) SweepLayerInventories(limit int) (int64, error) {
	return tx.exec(`delete from layer_inventories where id in (select id from layer_inventories l
		where not exists (select 1 from image_layers i where i.layer_id = l.id) order by id limit $1)`, limit)
}

// LayerBlob returns where the bytes of a digest are, whichever repository has
// them, or ErrNotFound.
func (tx *Tx) LayerBlob(digest string) (Link, error) {
	var l Link
	var inline int64
	err := tx.row([]any{&l.Blob, &l.Layer.Digest, &l.Layer.Size, (*string)(&l.Key), &inline},
		`select id, digest, size, storage_key, `+isInline+` from blobs where digest = $1`, digest)
	if err != nil || inline == 0 {
		return l, err
	}
	l.Inline = true
	l.Payload, err = tx.BlobPayload(l.Blob)
	return l, err
}

// PutLayerPackages records which packages (keys of pvs) layers have brought into
// images, beside what is recorded already.
func (tx *Tx) PutLayerPackages(layer int64, pvs []int64) error {
	known, err := tx.integers(`select pv_id from layer_pvs where layer_id = $1`, layer)
	if err != nil {
		return err
	}
	have := make(map[int64]bool, len(known))
	for _, pv := range known {
		have[pv] = true
	}
	pvs = slices.DeleteFunc(slices.Clone(pvs), func(pv int64) bool { return have[pv] })
	for part := range slices.Chunk(pvs, 256) {
		marks, args := in([]any{layer}, part)
		// The keys are rows of pvs, so that a list of values is not needed.
		if _, err := tx.exec(`insert into layer_pvs (pv_id, layer_id) select id, cast($1 as bigint) from pvs where id in `+marks+` on conflict do nothing`, args...); err != nil {
			return err
		}
	}
	return nil
}

// An ImageInventory is what is in an image, as it is stored.
type ImageInventory struct {
	Image int64
	// OS and Other are the keys of pvs of its packages, sorted: those of the
	// operating system, and the rest.
	OS, Other []int64
	Chain     int64  // a hash of its layers; that of another image's lowest layers finds what that is built on
	Body      []byte // the core's
}

// PutImageInventory stores i in place of what is there of the image.
func (tx *Tx) PutImageInventory(i ImageInventory) error {
	_, err := tx.exec(`insert into image_inventories (image_id, os_pvs, other_pvs, chain, body) values ($1, $2, $3, $4, $5)
		on conflict (image_id) do update set os_pvs = excluded.os_pvs, other_pvs = excluded.other_pvs, chain = excluded.chain, body = excluded.body`,
		i.Image, packKeys(i.OS), packKeys(i.Other), i.Chain, i.Body)
	return err
}

// ImageInventory returns that of an image, or ErrNotFound.
func (tx *Tx) ImageInventory(image int64) (ImageInventory, error) {
	i := ImageInventory{Image: image}
	var os, other []byte
	if err := tx.row([]any{&os, &other, &i.Chain, &i.Body}, `select os_pvs, other_pvs, chain, body from image_inventories where image_id = $1`, image); err != nil {
		return i, err
	}
	return i, i.unpack(os, other)
}

// InventoryBodies returns the bodies of the inventories of images, by their rows.
func (tx *Tx) InventoryBodies(images []int64) (map[int64][]byte, error) {
	out := make(map[int64][]byte, len(images))
	for part := range slices.Chunk(images, chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			var image int64
			var body []byte
			err := rs.Scan(&image, &body)
			out[image] = body
			return err
		}, `select image_id, body from image_inventories where image_id in `+marks, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ImagePackages returns the inventories of images, without Body, in the order of
// their rows; images without one are left out.
func (tx *Tx) ImagePackages(images []int64) (out []ImageInventory, err error) {
	for part := range slices.Chunk(images, 256) {
		marks, args := in(nil, part)
		err = tx.each(func(rs rows) error {
			var i ImageInventory
			var os, other []byte
			if err := rs.Scan(&i.Image, &os, &other); err != nil {
				return err
			}
			out = append(out, i)
			return out[len(out)-1].unpack(os, other)
		}, `select image_id, os_pvs, other_pvs from image_inventories where image_id in `+marks+` order by image_id`, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (i *ImageInventory) unpack(os, other []byte) (err error) {
	var err2 error
	i.OS, err = unpackKeys(os)
	i.Other, err2 = unpackKeys(other)
	return errors.Join(err, err2)
}

// Has reports whether the image has one of these packages, sorted.
func (i *ImageInventory) Has(pvs []int64, osOnly bool) bool {
	return meet(i.OS, pvs) || !osOnly && meet(i.Other, pvs)
}

// meet reports whether two sorted lists have a key in common.
func meet(a, b []int64) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			return true
		case a[0] < b[0]:
			n, _ := slices.BinarySearch(a, b[0])
			a = a[n:]
		default:
			n, _ := slices.BinarySearch(b, a[0])
			b = b[n:]
		}
	}
	return false
}

// packKeys is the stored form of sorted keys: the first, and then each one's
// distance from the one before, as varints.
func packKeys(keys []int64) []byte {
	b := make([]byte, 0, 2*len(keys))
	last := int64(0)
	for _, k := range keys {
		b = binary.AppendUvarint(b, uint64(k-last))
		last = k
	}
	return b
}

var errKeys = errors.New("meta: a stored list of packages is damaged: scan the image again")

func unpackKeys(b []byte) ([]int64, error) {
	keys := make([]int64, 0, len(b)/2)
	last := int64(0)
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errKeys
		}
		last, b = last+int64(d), b[n:]
		keys = append(keys, last)
	}
	return keys, nil
}
