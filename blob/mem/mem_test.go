package mem_test

import (
	"errors"
	"testing"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/blob/blobtest"
	"github.com/ecruhq/ecru/blob/mem"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return new(mem.Store) }, nil)
}

func TestDeletedKeyComesBack(t *testing.T) {
	s := new(mem.Store)
	key := blob.NewKey()
	if _, err := s.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), key); !errors.Is(err, mem.ErrReused) {
		t.Errorf("got %v, want ErrReused", err)
	}
}
