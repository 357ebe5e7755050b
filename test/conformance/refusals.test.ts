import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, statSync, statfsSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import type { ErrorCode } from "../../src/common/errors.ts";
import { XATTRS } from "../support/conformance-tree.ts";
import { python } from "../support/python.ts";
import { conformance } from "./table.ts";

/** Tries every operation that changes something. Answers name to errno. */
const WRITE_OPERATIONS = `
mount = args[0]
one, folder = mount + "/files/one", mount + "/work"
def opened(flags): os.close(os.open(one, flags))
operations = {
    "create": lambda: os.open(folder + "/new", os.O_CREAT | os.O_WRONLY),
    "open for write": lambda: opened(os.O_WRONLY),
    "open for append": lambda: opened(os.O_RDWR | os.O_APPEND),
    "truncate": lambda: os.truncate(one, 0),
    "mkdir": lambda: os.mkdir(folder + "/sub"),
    "rmdir": lambda: os.rmdir(folder),
    "unlink": lambda: os.unlink(one),
    "rename": lambda: os.rename(one, folder + "/two"),
    "symlink": lambda: os.symlink("x", folder + "/link"),
    "mknod": lambda: os.mknod(folder + "/node"),
    "chmod": lambda: os.chmod(one, 0o600),
    "chown": lambda: os.chown(one, 1, 1),
    "utime": lambda: os.utime(one, (1, 1)),
    "setxattr": lambda: os.setxattr(one, "user.a", b"1"),
    "removexattr": lambda: os.removexattr(mount + "/xattrs/file", "user.color"),
}
answer({name: name_of(run) for name, run in operations.items()})
`;

conformance("refusals", {}, ({ row, rowAlone }) => {
  rowAlone("a read-only mount answers EROFS to every change", async (start) => {
    await using mount = await start({ mount: { readOnly: true } });
    const answers = await python<Record<string, string>>(WRITE_OPERATIONS, mount.path);
    expect(new Set(Object.values(answers))).toEqual(new Set(["EROFS"]));
    expect(execFileSync("findmnt", ["-no", "OPTIONS", mount.path], { encoding: "utf8" })).toMatch(/^ro,/);
  });

  rowAlone("a read-only file system on a writable mount answers EROFS to every change", async (start) => {
    await using mount = await start({ filesystem: { readOnly: true } });
    const answers = await python<Record<string, string>>(WRITE_OPERATIONS, mount.path);
    expect(Object.entries(answers).filter(([, name]) => name !== "EROFS")).toEqual([]);
  });

  row("each error code arrives as its errno", async (mount) => {
    const cases: [ErrorCode, string][] = [
      ["io_error", "EIO"],
      ["endpoint_unreachable", "EIO"],
      ["object_archived", "EIO"],
      ["checksum_mismatch", "EIO"],
      ["access_denied", "EACCES"],
      ["permission_denied", "EACCES"],
      ["object_changed", "ESTALE"],
      ["too_many_open_files", "EMFILE"],
    ];
    for (const [code, errno] of cases) {
      await mount.call("fail", "read", "/files/middling", code);
      const found = await python(
        "answer(name_of(lambda: open(args[0], 'rb').read()))",
        mount.at("files/middling"),
      );
      expect(found, code).toBe(errno);
    }
    await mount.call("heal");
    expect(readFileSync(mount.at("files/middling")).length).toBeGreaterThan(0);
  });

  row("errors of lookup, open, readdir, mkdir, write and fsync reach the caller", async (mount) => {
    await mount.call("fail", "lookup", "/files/forbidden", "access_denied");
    expect(() => statSync(mount.at("files/forbidden"))).toThrow("EACCES");
    await mount.call("fail", "open", "/files/mib", "object_archived");
    expect(() => readFileSync(mount.at("files/mib"))).toThrow("EIO");
    await mount.call("fail", "opendir", "/xattrs", "access_denied");
    expect(() => readdirSync(mount.at("xattrs"))).toThrow("EACCES");
    await mount.call("fail", "mkdir", "/work/full", "no_space");
    expect(() => mkdirSync(mount.at("work/full"))).toThrow("ENOSPC");
    await mount.call("fail", "write", "/work/full-file", "no_space");
    expect(() => writeFileSync(mount.at("work/full-file"), "x")).toThrow("ENOSPC");
    await mount.call("fail", "fsync", "/work/unsynced", "io_error");
    expect(
      await python(
        "f = open(args[0], 'w')\nanswer(name_of(lambda: os.fsync(f.fileno())))",
        mount.at("work/unsynced"),
      ),
    ).toBe("EIO");
    await mount.call("heal");
  });

  row("an error of flush is close()'s", async (mount) => {
    await mount.call("fail", "flush", "/work/unflushed", "io_error");
    const found = await python(
      "fd = os.open(args[0], os.O_CREAT | os.O_WRONLY)\nanswer(name_of(lambda: os.close(fd)))",
      mount.at("work/unflushed"),
    );
    await mount.call("heal");
    expect(found).toBe("EIO");
  });

  row("a refused operation is asked for again the next time", async (mount) => {
    const file = mount.at("work/asked-again");
    const run = `
fd = os.open(args[0], os.O_CREAT | os.O_RDWR)
folder = os.open(args[1], os.O_RDONLY)
for work in (lambda: os.fsync(fd), lambda: os.fsync(folder), lambda: os.getxattr(args[0], "user.a"),
             lambda: os.listxattr(args[0]), lambda: os.close(fd)):
    name_of(work)
answer(None)
`;
    const operations = ["flush", "fsync", "fsyncdir", "getxattr", "listxattr"];
    for (const operation of operations) await mount.call("fail", operation, "*", "not_supported");
    await python(run, file, mount.at("work"));
    await mount.call("heal");
    const before = (await mount.call("stats")).counts;
    await python(run, file, mount.at("work"));
    const after = (await mount.call("stats")).counts;
    for (const operation of operations)
      expect(after[operation], operation).toBeGreaterThan(before[operation]!);
  });

  row("extended attributes: values, ENODATA, and ERANGE for a small buffer", async (mount) => {
    await mount.call("heal");
    const [values, missing, small, smallList] = await python<
      [Record<string, string>, string, string, string]
    >(
      `
path = args[0].encode()
buffer = ctypes.create_string_buffer(4)
answer([
    {name: os.getxattr(path, name).decode() for name in os.listxattr(path)},
    name_of(lambda: os.getxattr(path, "user.none")),
    name_of(lambda: checked(libc.getxattr(path, b"user.long", buffer, 4))),
    name_of(lambda: checked(libc.listxattr(path, buffer, 4))),
])
`,
      mount.at("xattrs/file"),
    );
    expect(values).toEqual(XATTRS);
    expect([missing, small, smallList]).toEqual(["ENODATA", "ERANGE", "ERANGE"]);
  });

  row("statfs shows the sizes that the file system answers", (mount) => {
    const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(mount.path);
    expect([bsize, blocks, bfree, bavail, files, ffree]).toEqual([
      4096, 1_000_000, 600_000, 500_000, 7777, 3333,
    ]);
    expect(execFileSync("df", ["--output=source,avail", mount.path], { encoding: "utf8" })).toContain(
      "memory://conformance, with a comma 2000000",
    );
  });

  row("permissions are checked for other users", async (mount) => {
    const [own, other] = await python<[string, string]>(
      `
def read(uid):
    receive, send = os.pipe()
    if os.fork() == 0:
        os.setgid(uid); os.setuid(uid)
        os.write(send, str(name_of(lambda: open(args[0]).read())).encode())
        os._exit(0)
    os.wait()
    return os.read(receive, 100).decode()
answer([read(0), read(12345)])
`,
      mount.at("files/private"),
    );
    expect([own, other]).toEqual(["secret", "EACCES"]);
  });

  rowAlone("allowOther lets other users in, within the permissions", async (start) => {
    await using mount = await start({ mount: { allowOther: true } });
    const code = `
os.setgid(12345); os.setuid(12345)
answer([name_of(lambda: len(os.listdir(args[0] + "/names"))), name_of(lambda: open(args[0] + "/files/private").read())])
`;
    // The mount point itself must be passable for them.
    execFileSync("chmod", ["755", mount.path]);
    expect(await python(code, mount.path)).toEqual([10, "EACCES"]);
  });
});
