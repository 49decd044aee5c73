package extract

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
)

// elfWith is a program that has nothing but one section.
func elfWith(section string, content []byte) []byte {
	names := append([]byte("\x00"+section+"\x00"), ".shstrtab\x00"...)
	const header = 64
	le := binary.LittleEndian
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: header,
		Shentsize: 64, Shnum: 3, Shstrndx: 2, Shoff: uint64(header + len(content) + len(names)),
	}
	copy(h.Ident[:], "\x7fELF")
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var b bytes.Buffer
	must(binary.Write(&b, le, h))
	b.Write(content)
	b.Write(names)
	must(binary.Write(&b, le, elf.Section64{}))
	must(binary.Write(&b, le, elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: header, Size: uint64(len(content)), Addralign: 1}))
	must(binary.Write(&b, le, elf.Section64{Name: uint32(len(section) + 2), Type: uint32(elf.SHT_STRTAB), Off: uint64(header + len(content)), Size: uint64(len(names)), Addralign: 1}))
	b.Write(make([]byte, 4096))
	return b.Bytes()
}

// elfWithList is a program of cargo-auditable with this list of crates.
func elfWithList(list string) []byte {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, err := z.Write([]byte(list))
	must(err)
	must(z.Close())
	return elfWith(".dep-v0", packed.Bytes())
}
