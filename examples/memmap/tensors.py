#!/usr/bin/env python3
"""Single tensors out of a safetensors file in a mount, without reading the rest of it.

    python3 tensors.py /models/model.safetensors              # names, types, shapes
    python3 tensors.py /models/model.safetensors NAME         # one tensor's checksum

A safetensors file is a length (8 bytes, little endian), a JSON header of that length, and the tensors' bytes. A mapping
of the file costs nothing by itself; touching a tensor fetches its bytes and little more, because the mount fetches
what is read in order ahead and leaves scattered touches alone. With numpy a tensor is an array over the mapping, with
nothing copied; without, a memoryview.
"""

import json
import mmap
import struct
import sys
import zlib

try:
    import numpy
except ImportError:
    numpy = None

NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


class SafeTensors:
    """The tensors of one file, mapped."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        (length,) = struct.unpack("<Q", self.mapping[:8])
        self.header = json.loads(self.mapping[8 : 8 + length])
        self.header.pop("__metadata__", None)
        self.start = 8 + length

    def names(self):
        return list(self.header)

    def view(self, name):
        """The tensor's bytes, not yet read."""
        begin, end = self.header[name]["data_offsets"]
        return memoryview(self.mapping)[self.start + begin : self.start + end]

    def array(self, name):
        """A numpy array over the mapping; types that numpy lacks, such as BF16, as bytes."""
        if numpy is None:
            raise ImportError("Arrays need numpy: pip install numpy. The bytes are in view(name).")
        described = self.header[name]
        kind = NUMPY_TYPES.get(described["dtype"])
        flat = numpy.frombuffer(self.view(name), dtype=kind or "u1")
        return flat.reshape(described["shape"]) if kind else flat


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    tensors = SafeTensors(sys.argv[1])
    if len(sys.argv) == 2:
        for name, described in tensors.header.items():
            print(name, described["dtype"], described["shape"])
        return
    name = sys.argv[2]
    if name not in tensors.header:
        sys.exit(f"There is no tensor '{name}'; there are {', '.join(tensors.names())}.")
    view = tensors.view(name)
    print(f"{name}: {len(view)} bytes, crc32 {zlib.crc32(view):08x}")


if __name__ == "__main__":
    main()
