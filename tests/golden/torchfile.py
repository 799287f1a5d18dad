"""Writes what torch.save writes, without torch: for tests that need a checkpoint as large as a model.

`make_torch.py` has torch itself read what this writes. A tensor is (dtype, shape, bytes) or a Tensor; any
other value is pickled as it is, so hostile files are made here, too."""
import collections
import io
import json
import pickle
import struct
import zipfile

SIZES = {"F64": ("DoubleStorage", 8), "F32": ("FloatStorage", 4), "F16": ("HalfStorage", 2),
         "BF16": ("BFloat16Storage", 2), "I64": ("LongStorage", 8), "I32": ("IntStorage", 4),
         "U8": ("ByteStorage", 1), "F8_E4M3": ("UntypedStorage", 1)}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_safetensors(path):
    """Name -> Tensor."""
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    return {name: Tensor(t["dtype"], t["shape"], data[8 + length + t["data_offsets"][0]:
                                                      8 + length + t["data_offsets"][1]])
            for name, t in header.items() if name != "__metadata__"}


def write_safetensors(tensors, path):
    """What lies in one piece, without metadata."""
    header, data = {}, []
    at = 0
    for name, t in tensors.items():
        header[name] = {"dtype": t.storage.dtype, "shape": list(t.shape),
                        "data_offsets": [at, at + len(t.storage.data)]}
        data.append(t.storage.data)
        at += len(t.storage.data)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


class Name:
    """Something in Python, by name."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __hash__(self):
        return hash((self.module, self.name))

    def __eq__(self, other):
        return (self.module, self.name) == (other.module, other.name)

    def __call__(self):
        """So that the pickler takes it for a function."""


class Storage:
    def __init__(self, dtype, data, count=None):
        self.kind, size = SIZES[dtype]
        self.dtype, self.data = dtype, data
        self.count = len(data) // size if count is None else count


class Tensor:
    def __init__(self, dtype, shape, data, offset=0, strides=None, storage=None):
        self.storage = storage or Storage(dtype, data)
        self.shape, self.offset = tuple(shape), offset
        if strides is None:
            strides, step = [], 1
            for n in reversed(self.shape):
                strides.insert(0, step)
                step *= n
        self.strides = tuple(strides)

    def __reduce__(self):
        where = self.storage, self.offset, self.shape, self.strides, False, collections.OrderedDict()
        if self.storage.kind == "UntypedStorage":  # types that are newer than these classes are written so
            return Name("torch._utils", "_rebuild_tensor_v3"), where + (Name("torch", "float8_e4m3fn"),)
        return Name("torch._utils", "_rebuild_tensor_v2"), where


class Call:
    """function(*arguments), when it is unpickled."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


class _Pickler(pickle._Pickler):  # the one in Python: its tables can be changed
    def __init__(self, out, legacy, protocol=2):
        super().__init__(out, protocol)
        self.legacy, self.storages = legacy, []

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        if all(obj is not s for s in self.storages):
            obj.key = str(len(self.storages))
            self.storages.append(obj)
        return ("storage", Name("torch.storage" if obj.kind == "UntypedStorage" else "torch", obj.kind), obj.key, "cpu", obj.count) + (None,) * self.legacy

    def save_name(self, obj):
        self.write(b"c" + obj.module.encode() + b"\n" + obj.name.encode() + b"\n")
        self.memoize(obj)

    dispatch = dict(pickle._Pickler.dispatch)
    dispatch[Name] = save_name


def pickled(value, legacy=False):
    """The bytes, and the storages in the order in which they came up."""
    out = io.BytesIO()
    pickler = _Pickler(out, legacy)
    pickler.dump(value)
    return out.getvalue(), pickler.storages


def zipped(value, path, compression=zipfile.ZIP_STORED):
    """The format of PyTorch 1.6 and later."""
    text, storages = pickled(value)
    with zipfile.ZipFile(path, "w", compression) as z:
        z.writestr("archive/data.pkl", text)
        for s in storages:
            z.writestr("archive/data/" + s.key, s.data)
        z.writestr("archive/version", "3\n")


def legacy(value, path):
    """The format before that."""
    text, storages = pickled(value, True)
    keys = sorted(s.key for s in storages)
    with open(path, "wb") as f:
        for part in (MAGIC, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {
                "short": 2, "int": 4, "long": 4}}):
            f.write(pickle.dumps(part, 2))
        f.write(text)
        f.write(pickle.dumps(keys, 2))
        for key in keys:
            s = next(s for s in storages if s.key == key)
            f.write(struct.pack("<q", s.count) + s.data)
