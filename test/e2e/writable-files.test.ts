/**
 * What programs may do with open files, on a writable mount: the kernel's ways of writing after close, names that go
 * while files are open, and several writers. Each ends with the bucket holding what a local disk would hold.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { folderTree } from "./stored-tree.ts";
import { type Place, openPlace } from "./writable-place.ts";

let place: Place;
beforeAll(async () => {
  place = await openPlace();
});
afterAll(() => place?.close());

function line(bytes: string | Buffer, mode = "644"): string {
  const buffer = Buffer.from(bytes);
  const sum = createHash("sha256").update(buffer).digest("hex").slice(0, 32);
  return `${mode} ${buffer.length} bytes ${sum}`;
}

/** Runs a program in a folder of its own; what the bucket then holds of it. */
async function after(name: string, code: string): Promise<{ said: unknown; stored: Record<string, string> }> {
  const folder = await place.folder(name);
  const said = await python(`os.chdir(args[0])\nos.umask(0o022)\n${code}`, folder);
  const stored = await place.stored(name);
  expect(await folderTree(folder)).toEqual(stored);
  return { said, stored };
}

test("stores into a shared mapping after close are kept", async () => {
  const { stored } = await after(
    "mapping",
    `
fd = os.open("file", os.O_RDWR | os.O_CREAT, 0o644)
os.truncate(fd, 3 * 4096)
view = mmap.mmap(fd, 0)
view[0:5] = b"early"
os.close(fd)
# Python's mappings keep a descriptor of their own; a bare one outlives the last close.
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
view.close()
fd = os.open("file", os.O_RDWR)
address = libc.mmap(None, 3 * 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
os.close(fd)
ctypes.memmove(address + 8192, b"late", 4)
assert open("file", "rb").read()[8192:8196] == b"late"
ctypes.memmove(address + 4096, b"later", 5)
libc.munmap(ctypes.c_void_p(address), 3 * 4096)
answer(0)`,
  );
  const wanted = Buffer.alloc(3 * 4096);
  wanted.write("early", 0);
  wanted.write("later", 4096);
  wanted.write("late", 8192);
  expect(stored).toEqual({ file: line(wanted) });
});

test("a duplicate's close, a child's exit and a shell's in mid-write are no close", async () => {
  const { stored } = await after(
    "dup",
    `
fd = os.open("file", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b"one,")
os.close(os.dup(fd))
os.write(fd, b"two,")
if os.fork() == 0:
    os.write(fd, b"child,")
    os._exit(0)
os.wait()
os.write(fd, b"three,")
os.system("true")
os.set_inheritable(fd, True)
os.system(f"echo -n shell, >&{fd}")
os.write(fd, b"four")
os.close(fd)
answer(0)`,
  );
  expect(stored).toEqual({ file: line("one,two,child,three,shell,four") });
});

test("two processes append to one file: no record is lost or torn", async () => {
  const { said, stored } = await after(
    "append",
    `
import subprocess
program = '''
import os, sys
fd = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
for i in range(500):
    os.write(fd, f"{sys.argv[1]} {i} {'.' * (i % 90)}\\\\n".encode())
os.close(fd)
'''
running = [subprocess.Popen([sys.executable, "-c", program, who]) for who in "ab"]
assert [child.wait() for child in running] == [0, 0]
lines = open("log").read().splitlines()
answer([len(lines), all([line for line in lines if line[0] == who] == [f"{who} {i} {'.' * (i % 90)}" for i in range(500)] for who in "ab")])`,
  );
  expect(said).toEqual([1000, true]);
  expect(Object.keys(stored)).toEqual(["log"]);
});

test("a rename over an open file: its readers and writers keep the old file", async () => {
  const { said, stored } = await after(
    "over",
    `
open("file", "w").write("old")
reader, writer = open("file", "rb"), os.open("file", os.O_RDWR)
open("new", "w").write("new content")
os.rename("new", "file")
os.pwrite(writer, b"OLD", 0)
answer([reader.read().decode(), os.fstat(writer).st_nlink, open("file").read(), os.pread(writer, 10, 0).decode()])`,
  );
  expect(said).toEqual(["OLD", 0, "new content", "OLD"]);
  expect(stored).toEqual({ file: line("new content") });
});

test("an unlinked open file goes on working and never reaches the bucket", async () => {
  const { said, stored } = await after(
    "unlink",
    `
fd = os.open("gone", os.O_RDWR | os.O_CREAT, 0o644)
os.write(fd, b"before ")
os.unlink("gone")
os.write(fd, b"after")
size = os.fstat(fd).st_size
text = os.pread(fd, 100, 0).decode()
os.ftruncate(fd, 6)
left = os.listdir(".")
open("gone", "w").write("another")
os.close(fd)
answer([size, text, left, open("gone").read()])`,
  );
  expect(said).toEqual([12, "before after", [], "another"]);
  expect(stored).toEqual({ gone: line("another") });
});

test("a file that is in the bucket is changed in place, appended to, cut and extended", async () => {
  const base = "0123456789".repeat(300_000);
  await after(
    "change",
    `
for name in ("middle", "append", "cut", "extend", "truncated", "mapped"):
    open(name, "w").write("0123456789" * 300_000)
answer(0)`,
  );
  await place.again();
  const { stored } = await after(
    "change",
    `
with open("middle", "r+b") as file:
    file.seek(1_500_001)
    file.write(b"MIDDLE")
with open("append", "ab") as file:
    assert file.tell() == 3_000_000
    file.write(b"TAIL")
os.truncate("cut", 1_234_567)
os.truncate("extend", 4_000_000)
open("truncated", "w").write("short")
with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
    view[2_000_000:2_000_006] = b"MAPPED"
answer(0)`,
  );
  const spliced = (at: number, text: string) => base.slice(0, at) + text + base.slice(at + text.length);
  expect(stored).toEqual({
    append: line(`${base}TAIL`),
    cut: line(base.slice(0, 1_234_567)),
    extend: line(Buffer.concat([Buffer.from(base), Buffer.alloc(1_000_000)])),
    mapped: line(spliced(2_000_000, "MAPPED")),
    middle: line(spliced(1_500_001, "MIDDLE")),
    truncated: line("short"),
  });
});

test("O_EXCL, O_TRUNC, RENAME_NOREPLACE and RENAME_EXCHANGE do what they say", async () => {
  const { said, stored } = await after(
    "flags",
    `
def rename2(a, b, flags):
    return checked(libc.renameat2(-100, a, -100, b, flags))
open("a", "w").write("a"); open("b", "w").write("b")
os.makedirs("folder/below"); open("folder/below/c", "w").write("c")
results = [name_of(lambda: os.open("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
           name_of(lambda: rename2(b"a", b"b", 1)),
           name_of(lambda: rename2(b"a", b"new", 1)),
           name_of(lambda: rename2(b"new", b"folder", 2)),
           name_of(lambda: os.rmdir("new")),
           name_of(lambda: os.rename("b", "new"))]
os.close(os.open("b", os.O_WRONLY | os.O_TRUNC))
answer([results, sorted(os.listdir(".")), open("folder").read(), open("new/below/c").read()])`,
  );
  const results = ["EEXIST", "EEXIST", 0, 0, "ENOTEMPTY", "EISDIR"];
  expect(said).toEqual([results, ["b", "folder", "new"], "a", "c"]);
  expect(stored).toEqual({ b: line(""), folder: line("a"), "new/below/c": line("c") });
});

test("holes, fallocate, SEEK_DATA and copy_file_range", async () => {
  const { said, stored } = await after(
    "holes",
    `
fd = os.open("file", os.O_RDWR | os.O_CREAT, 0o644)
os.pwrite(fd, b"x" * 4096, 0)
os.pwrite(fd, b"y" * 4096, 1 << 20)
found = [os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 4096, os.SEEK_DATA), name_of(lambda: os.lseek(fd, (1 << 20) + 4096, os.SEEK_DATA))]
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
checked(libc.fallocate(fd, 0, (1 << 20) + 4096, 8192))
checked(libc.fallocate(fd, 3, 0, 2048))
size = os.fstat(fd).st_size
copy = os.open("copy", os.O_RDWR | os.O_CREAT, 0o644)
at = 0
while at < size:
    at += os.copy_file_range(fd, copy, size - at, at, at)
os.close(copy)
os.close(fd)
answer([found, size, open("copy", "rb").read() == open("file", "rb").read()])`,
  );
  const size = (1 << 20) + 4096 + 8192;
  expect(said).toEqual([[4096, 1 << 20, "ENXIO"], size, true]);
  const wanted = Buffer.alloc(size);
  wanted.fill("x", 2048, 4096);
  wanted.fill("y", 1 << 20, (1 << 20) + 4096);
  expect(stored).toEqual({ copy: line(wanted), file: line(wanted) });
});

test("attributes and extended attributes of a file that is in the bucket change without its bytes", async () => {
  await after("attributes", `open("file", "w").write("content"); open("other", "w").write("x"); answer(0)`);
  await place.again();
  const change = await after(
    "attributes",
    `
os.chmod("file", 0o751)
os.utime("file", ns=(10**18, 1_234_567_890_123_456_000))
os.setxattr("file", "user.note", "grün\\\\n".encode())
answer(0)`,
  );
  expect(change.stored["file"]).toBe(line("content", "751"));
  await place.again();
  const { said } = await after(
    "attributes",
    `
found = os.stat("file")
answer([oct(found.st_mode), found.st_mtime_ns, os.listxattr("file"), os.getxattr("file", "user.note").decode(), open("file").read(),
        name_of(lambda: os.getxattr("other", "user.note"))])`,
  );
  expect(said).toEqual([
    "0o100751",
    1_234_567_890_123_456_000,
    ["user.note"],
    "grün\\n",
    "content",
    "ENODATA",
  ]);
});

test("a thousand small files and an empty folder, removed again in part", async () => {
  const { stored } = await after(
    "many",
    `
os.makedirs("a/empty")
for i in range(1000):
    open(f"a/{i}", "w").write(str(i))
for i in range(0, 1000, 2):
    os.unlink(f"a/{i}")
os.rename("a", "b")
answer(0)`,
  );
  expect(Object.keys(stored)).toHaveLength(501);
  expect(stored["b/999"]).toBe(line("999"));
  expect(stored["b/empty/"]).toBe("folder");
});
