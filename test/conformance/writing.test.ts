import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { expect } from "vitest";
import { GiB, MiB } from "../../src/common/units.ts";
import { python } from "../support/python.ts";
import { patternBytes } from "../support/sparse-content.ts";
import { conformance } from "./table.ts";

const NO_RENAME_FLAGS = "libfuse 2 knows no rename flags: the kernel answers EINVAL";

conformance("writing", {}, ({ row }) => {
  row("a new file has what was written to it", (mount) => {
    const bytes = patternBytes(77, 0, 5 * MiB + 321);
    writeFileSync(mount.at("work/new"), bytes);
    expect(statSync(mount.at("work/new")).size).toBe(bytes.length);
    expect(readFileSync(mount.at("work/new")).equals(bytes)).toBe(true);
  });

  row("writes at any offset land there, and holes read as zero", (mount) => {
    const path = mount.at("work/offsets");
    const fd = openSync(path, "w+");
    writeSync(fd, Buffer.from("tail"), 0, 4, 300_000);
    writeSync(fd, Buffer.from("head"), 0, 4, 0);
    writeSync(fd, Buffer.from("mid"), 0, 3, 131_071);
    closeSync(fd);
    const wanted = Buffer.alloc(300_004);
    wanted.write("head", 0);
    wanted.write("mid", 131_071);
    wanted.write("tail", 300_000);
    expect(readFileSync(path).equals(wanted)).toBe(true);
  });

  row("a write beyond 4 GiB lands there", (mount) => {
    const path = mount.at("work/far");
    const fd = openSync(path, "w+");
    writeSync(fd, Buffer.from("far out"), 0, 7, 5 * GiB + 3);
    closeSync(fd);
    expect(statSync(path).size).toBe(5 * GiB + 10);
    expect(execFileSync("tail", ["-c", "7", path], { encoding: "utf8" })).toBe("far out");
    unlinkSync(path);
  });

  row("part of an existing file is overwritten in place", (mount) => {
    const path = mount.at("files/mib");
    const fd = openSync(path, "r+");
    writeSync(fd, Buffer.alloc(70_000, 1), 0, 70_000, 1000);
    closeSync(fd);
    const wanted = patternBytes(4, 0, MiB);
    wanted.fill(1, 1000, 71_000);
    expect(readFileSync(path).equals(wanted)).toBe(true);
  });

  row("O_APPEND appends, also from two processes in turn", (mount) => {
    const path = mount.at("work/log");
    appendFileSync(path, "one\n");
    execFileSync("sh", ["-c", 'echo two >> "$1"', "sh", path]);
    appendFileSync(path, "three\n");
    expect(readFileSync(path, "utf8")).toBe("one\ntwo\nthree\n");
  });

  row("truncate shortens, lengthens with zeros, and O_TRUNC empties", (mount) => {
    const path = mount.at("work/cut");
    writeFileSync(path, "0123456789");
    truncateSync(path, 4);
    expect(readFileSync(path, "utf8")).toBe("0123");
    const fd = openSync(path, "r+");
    ftruncateSync(fd, 6);
    closeSync(fd);
    expect(readFileSync(path).equals(Buffer.from("0123\0\0"))).toBe(true);
    closeSync(openSync(path, "w"));
    expect(statSync(path).size).toBe(0);
  });

  row("a shared writable mapping reaches the file", async (mount) => {
    const path = mount.at("work/mapped");
    writeFileSync(path, Buffer.alloc(200_000));
    await python<null>(
      `
with open(args[0], "r+b") as file:
    view = mmap.mmap(file.fileno(), 0)
    view[150000:150006] = b"mapped"
    view.flush()
    view.close()
answer(None)
`,
      path,
    );
    expect(readFileSync(path).toString("latin1", 150_000, 150_006)).toBe("mapped");
  });

  row("fsync, fdatasync and fsync of a folder reach the file system", async (mount) => {
    const before = (await mount.call("stats")).counts;
    const fd = openSync(mount.at("work/synced"), "w");
    writeSync(fd, "x");
    fsyncSync(fd);
    fdatasyncSync(fd);
    closeSync(fd);
    const folder = openSync(mount.at("work"), "r");
    fsyncSync(folder);
    closeSync(folder);
    const { counts } = await mount.call("stats");
    expect(counts["fsync"]).toBe((before["fsync"] ?? 0) + 2);
    expect(counts["fsyncdir"]).toBe((before["fsyncdir"] ?? 0) + 1);
  });

  row("mkdir, rmdir, ENOTEMPTY and EEXIST", (mount) => {
    mkdirSync(mount.at("work/a/b/c"), { recursive: true, mode: 0o750 });
    expect(statSync(mount.at("work/a/b/c")).mode & 0o7777).toBe(0o750);
    expect(() => mkdirSync(mount.at("work/a"))).toThrow("EEXIST");
    expect(() => rmdirSync(mount.at("work/a"))).toThrow("ENOTEMPTY");
    rmSync(mount.at("work/a"), { recursive: true });
    expect(existsSync(mount.at("work/a"))).toBe(false);
  });

  row("symlinks are made and read back; hard links are EPERM", (mount) => {
    symlinkSync("../ünï target", mount.at("work/link"));
    expect(readlinkSync(mount.at("work/link"))).toBe("../ünï target");
    writeFileSync(mount.at("work/plain"), "x");
    expect(() => linkSync(mount.at("work/plain"), mount.at("work/hard"))).toThrow("EPERM");
  });

  row("rename moves files and folders and replaces what is there", (mount) => {
    mkdirSync(mount.at("work/from/inner"), { recursive: true });
    writeFileSync(mount.at("work/from/inner/file"), "moved");
    writeFileSync(mount.at("work/target"), "replaced");
    renameSync(mount.at("work/from/inner/file"), mount.at("work/target"));
    expect(readFileSync(mount.at("work/target"), "utf8")).toBe("moved");
    renameSync(mount.at("work/from"), mount.at("work/to"));
    expect(readdirSync(mount.at("work/to"))).toEqual(["inner"]);
    expect(() => renameSync(mount.at("work/none"), mount.at("work/x"))).toThrow("ENOENT");
  });

  row("an open file follows its rename", (mount) => {
    const fd = openSync(mount.at("work/before"), "w+");
    renameSync(mount.at("work/before"), mount.at("work/after"));
    writeSync(fd, "written after the rename");
    closeSync(fd);
    expect(readFileSync(mount.at("work/after"), "utf8")).toBe("written after the rename");
  });

  row(
    "RENAME_NOREPLACE refuses, RENAME_EXCHANGE swaps",
    async (mount) => {
      writeFileSync(mount.at("work/left"), "left");
      writeFileSync(mount.at("work/right"), "right");
      const result = await python<unknown[]>(
        `
def rename(flags):
    return name_of(lambda: checked(libc.renameat2(-100, args[0].encode(), -100, args[1].encode(), flags)))
answer([rename(1), rename(2)])
`,
        mount.at("work/left"),
        mount.at("work/right"),
      );
      expect(result).toEqual(["EEXIST", 0]);
      expect(readFileSync(mount.at("work/left"), "utf8")).toBe("right");
    },
    { "fuse-native": NO_RENAME_FLAGS },
  );

  row("an unlinked file stays readable and writable until it is closed", (mount) => {
    const path = mount.at("work/unlinked");
    const fd = openSync(path, "w+");
    writeSync(fd, "still ");
    unlinkSync(path);
    expect(existsSync(path)).toBe(false);
    writeSync(fd, "here");
    expect(readFileSync(`/proc/self/fd/${fd}`, "utf8")).toBe("still here");
    expect(readdirSync(mount.at("work")).filter((name) => name.startsWith(".fuse_hidden"))).toEqual([]);
    closeSync(fd);
  });

  row("a file replaced by rename while it is open keeps its old content for the reader", (mount) => {
    writeFileSync(mount.at("work/current"), "old content");
    writeFileSync(mount.at("work/next"), "new content");
    const fd = openSync(mount.at("work/current"), "r");
    renameSync(mount.at("work/next"), mount.at("work/current"));
    expect(readFileSync(fd, "utf8")).toBe("old content");
    closeSync(fd);
    expect(readFileSync(mount.at("work/current"), "utf8")).toBe("new content");
  });

  row("chmod, chown and utimes show in stat", (mount) => {
    const path = mount.at("work/attributes");
    writeFileSync(path, "x");
    chmodSync(path, 0o4711);
    chownSync(path, 1234, 4321);
    utimesSync(path, 1_000_000_000.5, 1_111_111_111.25);
    const found = statSync(path);
    expect([found.uid, found.gid]).toEqual([1234, 4321]);
    expect(found.mode & 0o777).toBe(0o711);
    expect([found.atimeMs, found.mtimeMs]).toEqual([1_000_000_000_500, 1_111_111_111_250]);
  });

  row(
    "touch -m changes one time and leaves the other",
    (mount) => {
      const path = mount.at("work/touched");
      writeFileSync(path, "x");
      utimesSync(path, 1_000_000_000, 1_111_111_111);
      execFileSync("touch", ["-m", "-d", "@1222222222", path]);
      const found = statSync(path);
      expect([found.atimeMs, found.mtimeMs]).toEqual([1_000_000_000_000, 1_222_222_222_000]);
    },
    { "fuse-native": "libfuse 2 asks for both times or none" },
  );

  row("create honours mode and umask", (mount) => {
    execFileSync("sh", ["-c", 'umask 027; echo x > "$1"', "sh", mount.at("work/masked")]);
    expect(statSync(mount.at("work/masked")).mode & 0o7777).toBe(0o640);
  });

  row("extended attributes are set, replaced and removed, with EEXIST and ENODATA", async (mount) => {
    const path = mount.at("work/attributed");
    writeFileSync(path, "");
    const result = await python<unknown[]>(
      `
path = args[0]
os.setxattr(path, "user.a", b"1", os.XATTR_CREATE)
steps = [name_of(lambda: os.setxattr(path, "user.a", b"2", os.XATTR_CREATE))]
steps.append(name_of(lambda: os.setxattr(path, "user.b", b"2", os.XATTR_REPLACE)))
os.setxattr(path, "user.a", b"long" * 500)
steps.append(len(os.getxattr(path, "user.a")))
os.removexattr(path, "user.a")
steps.append(name_of(lambda: os.removexattr(path, "user.a")))
steps.append(os.listxattr(path))
answer(steps)
`,
      path,
    );
    expect(result).toEqual(["EEXIST", "ENODATA", 2000, "ENODATA", []]);
  });

  row(
    "fallocate extends, keeps the size when asked, and punches holes that SEEK_HOLE finds",
    async (mount) => {
      const result = await python<unknown[]>(
        `
fd = os.open(args[0], os.O_RDWR | os.O_CREAT)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
os.write(fd, b"x" * 262144)
steps = [checked(libc.fallocate(fd, 0, 0, 300000)), os.fstat(fd).st_size]
steps += [checked(libc.fallocate(fd, 1, 0, 900000)), os.fstat(fd).st_size]
steps += [checked(libc.fallocate(fd, 3, 65536, 65536)), os.pread(fd, 3, 65535) == b"x\\0\\0"]
steps += [os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 65536, os.SEEK_DATA)]
answer(steps)
`,
        mount.at("work/allocated"),
      );
      expect(result).toEqual([0, 300_000, 0, 300_000, 0, true, 65_536, 131_072]);
    },
    { "fuse-native": "the package has no fallocate and no lseek" },
  );

  row("copy_file_range copies, by the file system or by the kernel's fallback", async (mount) => {
    writeFileSync(mount.at("work/source"), patternBytes(5, 0, 200_000));
    writeFileSync(mount.at("work/copy"), "");
    await python<null>(
      `
source = os.open(args[0], os.O_RDONLY)
target = os.open(args[1], os.O_RDWR)
left = 200000
while left > 0: left -= os.copy_file_range(source, target, left)
answer(None)
`,
      mount.at("work/source"),
      mount.at("work/copy"),
    );
    expect(readFileSync(mount.at("work/copy")).equals(patternBytes(5, 0, 200_000))).toBe(true);
  });

  row("cp -a, mv and rm -r of a tree", (mount) => {
    execFileSync("cp", ["-a", mount.at("names"), mount.at("work/copied")]);
    expect(readdirSync(mount.at("work/copied")).sort()).toEqual(readdirSync(mount.at("names")).sort());
    execFileSync("diff", ["-r", mount.at("names"), mount.at("work/copied")]);
    execFileSync("mv", [mount.at("work/copied"), mount.at("work/moved")]);
    execFileSync("rm", ["-r", mount.at("work/moved")]);
    expect(existsSync(mount.at("work/moved"))).toBe(false);
  });

  row(
    "a FIFO carries bytes between processes, a socket takes connections, a device node has its number",
    async (mount) => {
      const result = await python<unknown[]>(
        `
import socket, stat
os.chdir(args[0])
os.mkfifo("fifo", 0o600)
if os.fork() == 0:
    open("fifo", "w").write("through the fifo")
    os._exit(0)
said = [open("fifo").read(), stat.S_ISFIFO(os.lstat("fifo").st_mode)]
listener = socket.socket(socket.AF_UNIX)
listener.bind("socket")
listener.listen()
client = socket.socket(socket.AF_UNIX)
client.connect("socket")
client.sendall(b"through the socket")
said += [listener.accept()[0].recv(100).decode(), stat.S_ISSOCK(os.lstat("socket").st_mode)]
os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
said += [os.lstat("device").st_rdev == os.makedev(1, 3), name_of(lambda: os.open("device", os.O_RDONLY))]
answer(said)
`,
        mount.at("work"),
      );
      expect(result).toEqual(["through the fifo", true, "through the socket", true, true, "EACCES"]);
    },
  );

  row("flock and fcntl locks exclude other processes", async (mount) => {
    const path = mount.at("work/locked");
    writeFileSync(path, "x");
    const result = await python<string[]>(
      `
held = open(args[0], "r+b")
def child(take):
    read, write = os.pipe()
    if os.fork() == 0:
        other = open(args[0], "r+b")
        os.write(write, str(name_of(lambda: take(other, fcntl.LOCK_EX | fcntl.LOCK_NB))).encode())
        os._exit(0)
    os.wait()
    return os.read(read, 100).decode()
fcntl.flock(held, fcntl.LOCK_EX)
results = [child(fcntl.flock)]
fcntl.flock(held, fcntl.LOCK_UN)
fcntl.lockf(held, fcntl.LOCK_EX)
results.append(child(fcntl.lockf))
answer(results)
`,
      path,
    );
    expect(result).toEqual(["EAGAIN", "EAGAIN"]);
  });
});
