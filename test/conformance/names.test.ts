import { execFileSync } from "node:child_process";
import {
  constants,
  existsSync,
  lstatSync,
  opendirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { expect } from "vitest";
import { FILES, LINKS, NAMES, bigName } from "../support/conformance-tree.ts";
import { TREE_TIME_MS } from "../support/memory-node.ts";
import { python } from "../support/python.ts";
import { conformance } from "./table.ts";

const BIG = 100_000;

conformance("names and attributes", { bigEntries: BIG }, ({ row }) => {
  row("stat shows size, type, mode, owner, times and a stable inode number", (mount) => {
    for (const [name, { sizeBytes }] of Object.entries(FILES)) {
      const found = statSync(mount.at("files", name));
      expect(found.isFile()).toBe(true);
      expect(found.size).toBe(sizeBytes);
      expect(found.mode & 0o7777).toBe(0o644);
      expect(found.mtimeMs).toBe(TREE_TIME_MS);
      expect(found.nlink).toBe(1);
      expect(found.ino).toBe(statSync(mount.at("files", name)).ino);
    }
    const foreign = statSync(mount.at("files/foreign"));
    expect([foreign.uid, foreign.gid, foreign.mode & 0o7777]).toEqual([12_345, 54_321, 0o640]);
    const root = statSync(mount.path);
    expect(root.isDirectory()).toBe(true);
    expect(root.nlink).toBe(9);
  });

  row("readdir lists every name once, with . and .. only where the kernel adds them", (mount) => {
    expect(readdirSync(mount.path).sort()).toEqual([
      "big",
      "deep",
      "files",
      "links",
      "names",
      "work",
      "xattrs",
    ]);
    expect(readdirSync(mount.at("names")).sort()).toEqual([...NAMES].sort());
    expect(execFileSync("ls", ["-a", mount.at("work")], { encoding: "utf8" })).toBe(".\n..\n");
  });

  row("directory entries carry their type and inode number", (mount) => {
    const types = readdirSync(mount.at("links"), { withFileTypes: true }).map((entry) =>
      entry.isSymbolicLink(),
    );
    expect(types).toEqual(Object.keys(LINKS).map(() => true));
    const files = readdirSync(mount.path, { withFileTypes: true });
    expect(files.every((entry) => entry.isDirectory())).toBe(true);
    const listed = execFileSync("ls", ["-i1", mount.at("files")], { encoding: "utf8" });
    for (const line of listed.trim().split("\n")) {
      const [ino, name] = line.trim().split(" ");
      expect(statSync(mount.at("files", name!)).ino).toBe(Number(ino));
    }
  });

  row("names with spaces, unicode, newlines and 255 bytes open by those names", (mount) => {
    for (const name of NAMES) expect(readFileSync(mount.at("names", name), "utf8")).toBe(name);
  });

  row("a name of 256 bytes is ENAMETOOLONG", (mount) => {
    expect(() => statSync(mount.at("names", "n".repeat(256)))).toThrow("ENAMETOOLONG");
  });

  row("find walks to the bottom of a deep tree", (mount) => {
    const found = execFileSync("find", [mount.at("deep"), "-type", "f", "-size", "6c"], { encoding: "utf8" });
    expect(found.trim().endsWith("level-19/level-20/bottom")).toBe(true);
  });

  row("symlinks are read as they are and followed where they lead", (mount) => {
    for (const [name, target] of Object.entries(LINKS)) {
      expect(readlinkSync(mount.at("links", name))).toBe(target);
      expect(lstatSync(mount.at("links", name)).size).toBe(Buffer.byteLength(target));
    }
    expect(statSync(mount.at("links/to-file")).size).toBe(1);
    expect(readdirSync(mount.at("links/to-folder")).length).toBe(NAMES.length);
    expect(existsSync(mount.at("links/dangling"))).toBe(false);
    expect(() => statSync(mount.at("links/loop-a"))).toThrow("ELOOP");
  });

  row("what is not there is ENOENT, a file in a folder's place ENOTDIR, a folder read EISDIR", (mount) => {
    expect(() => statSync(mount.at("files/none"))).toThrow("ENOENT");
    expect(() => statSync(mount.at("files/none/deeper"))).toThrow("ENOENT");
    expect(() => statSync(mount.at("files/one/deeper"))).toThrow("ENOTDIR");
    expect(() => readdirSync(mount.at("files/one"))).toThrow("ENOTDIR");
    expect(() => readFileSync(mount.at("files"))).toThrow("EISDIR");
  });

  row("O_NOFOLLOW, O_DIRECTORY and O_EXCL are honoured", async (mount) => {
    const opened = (path: string, flags: number) => open(mount.at(path), flags);
    await expect(opened("links/to-file", constants.O_NOFOLLOW)).rejects.toThrow("ELOOP");
    await expect(opened("files/one", constants.O_DIRECTORY)).rejects.toThrow("ENOTDIR");
    await expect(
      opened("files/one", constants.O_CREAT | constants.O_EXCL | constants.O_RDWR),
    ).rejects.toThrow("EEXIST");
  });

  row("a folder of 100,000 entries is listed whole, without duplicates", (mount) => {
    const names = readdirSync(mount.at("big"));
    expect(names.length).toBe(BIG);
    expect(new Set(names).size).toBe(BIG);
    expect(names.sort().at(-1)).toBe(bigName(BIG - 1));
  });

  row("find with stat sees the size of each of 100,000 entries", (mount) => {
    const sizes = execFileSync("find", [mount.at("big"), "-type", "f", "-printf", "%s\n"], {
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    });
    const sum = sizes
      .trim()
      .split("\n")
      .reduce((total, size) => total + Number(size), 0);
    expect(sum).toBe((BIG * (BIG - 1)) / 2);
  });

  row("seekdir returns to a place and rewinddir to the start", async (mount) => {
    const [first, again, rewound] = await python<[string[], string[], string[]]>(
      `
class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_ulong), ("off", ctypes.c_long), ("len", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]
libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.telldir.restype = ctypes.c_long
for f in (libc.readdir, libc.telldir, libc.rewinddir, libc.closedir): f.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
d = libc.opendir(args[0].encode())
def take(count):
    names = []
    while len(names) < count:
        entry = libc.readdir(d)
        if not entry: break
        names.append(entry.contents.name.decode())
    return names
take(5000)
place = libc.telldir(d)
first = take(7000)
libc.seekdir(d, place)
again = take(7000)
libc.rewinddir(d)
answer([first, again, take(12000)])
libc.closedir(d)
`,
      mount.at("big"),
    );
    expect(first.length).toBe(7000);
    expect(again).toEqual(first);
    expect(rewound.slice(5000)).toEqual(first);
  });

  row("several folders are read at once without mixing", async (mount) => {
    const lists = await Promise.all(
      Array.from({ length: 4 }, () =>
        python<number>(
          "answer(len(set(os.listdir(args[0]))) + len(set(os.listdir(args[1]))))",
          mount.at("big"),
          mount.at("names"),
        ),
      ),
    );
    expect(lists).toEqual(lists.map(() => BIG + NAMES.length));
  });

  row("a folder stays readable while it is listed half", (mount) => {
    const folder = opendirSync(mount.at("big"), { bufferSize: 16 });
    const entry = folder.readSync();
    expect(statSync(mount.at("big", entry!.name)).isFile()).toBe(true);
    folder.closeSync();
  });
});
