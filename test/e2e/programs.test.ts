/**
 * Real programs on the real product: what they see on a mount is, byte by byte, what they see on a local disk.
 *
 * Every program runs in a process of its own: the store answers from this one, which must not wait on the mount.
 */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GiB } from "../../src/common/units.ts";
import { syntheticBytes } from "../../src/devs3/index.ts";
import { describeChannels } from "../support/channels.ts";
import { testClient } from "../support/dev-s3.ts";
import { python } from "../support/python.ts";
import { World, runProgram } from "./harness.ts";
import { ODD_NAMES, SIZES, makeTree, uploadTree } from "./program-tree.ts";

const HUGE = { sizeBytes: 5 * GiB + 11, seed: 7 };
const MANY = 100_000;
const hasGit = hasProgram("git");

function hasProgram(name: string): boolean {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

let scratch: string;
let local: string;
let world: World;

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), "hawser-programs-"));
  local = path.join(scratch, "local");
  await mkdir(local);
  await makeTree(local);
  // dev-s3 takes files that lie in its folder for objects: a quick way to a hundred thousand of them.
  const buckets = path.join(scratch, "buckets");
  const many = path.join(buckets, "many", "flat");
  await mkdir(many, { recursive: true });
  await python(
    "for i in range(args[1]): open(f'{args[0]}/item-{i:06d}', 'w').write(str(i))\nanswer(0)",
    many,
    MANY,
  );
  world = await World.open({ folder: buckets });
  const client = testClient(world.s3);
  await uploadTree(client, world.bucket, local, "tree/");
  client.destroy();
  await world.s3.putSynthetic(world.bucket, "huge/file", HUGE.sizeBytes, HUGE.seed);
}, 300_000);

afterAll(async () => {
  await world?.close();
  await rm(scratch, { recursive: true, force: true });
});

/** Runs a shell script in a folder; its output, standard output first. */
async function shell(script: string, folder: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram("sh", ["-c", `cd "$0" && ${script}`, folder, ...args], {
    env: { LC_ALL: "C.UTF-8", GIT_CONFIG_NOSYSTEM: "1", HOME: scratch },
    timeoutMs: 110_000,
  });
  return code === 0 ? stdout + stderr : `ended with ${code}: ${stdout}${stderr}`;
}

describeChannels("programs", (channel) => {
  let mounted: string;
  let out: string;

  beforeAll(async () => {
    const args = ["--channel", channel, "--file-mode", "0755"];
    mounted = await world.mount(args, { prefix: "tree/", name: `tree-${channel}` });
    out = path.join(scratch, `out-${channel}`);
    await mkdir(out);
  });

  afterAll(async () => {
    for (const name of ["tree", "huge", "many", "venv"])
      await world.hawser(["unmount", path.join(world.folder, `${name}-${channel}`)]);
  });

  /** Runs a script on the local tree and on the mount, and expects the same of both. */
  async function sameOnBoth(script: string): Promise<string> {
    const wanted = await shell(script, local);
    expect(await shell(script, mounted)).toBe(wanted);
    return wanted;
  }

  test("find and ls see the same names, types and sizes", async () => {
    const listing = await sameOnBoth("find . ! -type d -printf '%P %y %s\\0' | sort -z | tr '\\0' '|'");
    for (const name of ODD_NAMES) expect(listing).toContain(name);
    await sameOnBoth("find . -type d | sort");
    await sameOnBoth("ls -AR1 --quoting-style=c");
  });

  test("cat and sha256sum of every file", async () => {
    const sums = await sameOnBoth("find . -type f -print0 | sort -z | xargs -0 sha256sum -z | tr '\\0' '|'");
    expect(sums).toContain("sizes/mib-plus-one");
    await sameOnBoth("cat sizes/* | sha256sum");
    await sameOnBoth("cat names/*");
  });

  test("files of 0 bytes, 1 byte and around 1 MiB have their sizes", async () => {
    for (const [name, size] of Object.entries(SIZES)) {
      expect(await shell(`stat -c %s sizes/${name} && wc -c < sizes/${name}`, mounted)).toBe(
        `${size}\n${size}\n`,
      );
    }
  });

  test("cp -r copies the tree, and diff -r finds no difference", async () => {
    expect(await shell('cp -r . "$1"', mounted, path.join(out, "copy"))).toBe("");
    expect(await shell('diff -r . "$1"', local, path.join(out, "copy"))).toBe("");
    expect(await shell('diff -r . "$1"', local, mounted)).toBe("");
  });

  test("tar packs it and unpacks to the same tree", async () => {
    const archive = path.join(out, "tree.tar");
    expect(await shell('tar cf "$1" .', mounted, archive)).toBe("");
    expect(
      await shell(
        'mkdir "$1" && tar xf "$2" -C "$1" && diff -r . "$1"',
        local,
        path.join(out, "untar"),
        archive,
      ),
    ).toBe("");
  });

  test("grep -r finds the same lines", async () => {
    const found = await sameOnBoth("grep -rn 'line 7 of file 1[0-9]*$' text | sort");
    expect(found.split("\n").length).toBeGreaterThan(100);
  });

  test("dd, head, tail and cmp read parts of a file", async () => {
    await sameOnBoth("dd if=sizes/ten-mib bs=4099 skip=1000 count=77 2>/dev/null | sha256sum");
    await sameOnBoth("head -c 1048577 sizes/ten-mib | sha256sum; tail -c 99999 sizes/ten-mib | sha256sum");
    expect(await shell('cmp sizes/ten-mib "$1/sizes/ten-mib"', mounted, local)).toBe("");
  });

  test.skipIf(!hasGit)(`git clones a bare repository${hasGit ? "" : " [git is not installed]"}`, async () => {
    const clone = path.join(out, "clone");
    // The files belong to nobody in particular; git is told that this is fine.
    const git = "git -c safe.directory='*'";
    expect(await shell(`${git} clone -q --no-local repository.git "$1"`, mounted, clone)).toBe("");
    expect(await shell("git log --format=%s && git tag && git fsck --no-progress", clone)).toBe(
      "One more\nAll files\nv1\n",
    );
    expect(await shell('diff -r text "$1" --exclude .git --exclude later', local, clone)).toBe("");
  });

  test("Python reads by open, mmap and struct", async () => {
    const code = `
import struct
results = []
for root in args:
    path = root + "/sizes/ten-mib"
    with open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        words = [struct.unpack_from("<Q", view, at)[0] for at in range(0, len(view) - 8, 65537)]
        file.seek(5_000_001)
        results.append([words, view[-100:].hex(), hashlib.sha256(view).hexdigest(), file.read(1000).hex(), view.find(b"zzz")])
answer(results)
`;
    const [fromMount, fromLocal] = await python<unknown[]>(code, mounted, local);
    expect(fromMount).toEqual(fromLocal);
  });

  test("sqlite3 queries a database read-only", async () => {
    const code = `
import sqlite3
results = []
for root in args:
    db = sqlite3.connect(f"file:{root}/rows.sqlite?mode=ro&immutable=0", uri=True)
    results.append([db.execute("select count(*), sum(value) from rows").fetchone(),
                    db.execute("select id from rows where name = 'row 40404'").fetchone(),
                    db.execute("pragma integrity_check").fetchone()])
answer(results)
`;
    const [fromMount, fromLocal] = await python<unknown[]>(code, mounted, local);
    expect(fromMount).toEqual(fromLocal);
    expect(fromLocal).toMatchObject([[50_000, expect.any(Number)], [40_404], ["ok"]]);
  });

  test("a program on the mount is executed", async () => {
    expect(await shell("./bin/greet you", mounted)).toBe("hello, you, from greet\n");
  });

  test("a Python virtual environment is imported from the mount, extension module included", async () => {
    const folder = path.join(scratch, `venv-${channel}`);
    const code = `
import subprocess, shutil, sysconfig, glob
subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", args[0]], check=True)
site = glob.glob(args[0] + "/lib/python3*/site-packages")[0]
os.makedirs(site + "/parcel")
open(site + "/parcel/__init__.py", "w").write("from . import inner\\nVALUE = inner.value()\\n")
open(site + "/parcel/inner.py", "w").write("def value(): return 'imported from ' + __file__.split('/lib/')[0]\\n")
import _bisect
shutil.copy(getattr(_bisect, "__file__", None) or glob.glob(sysconfig.get_path("platstdlib") + "/lib-dynload/_*.so")[0],
            site + "/parcel/")
answer([name for name in os.listdir(site + "/parcel") if name.endswith(".so")])
`;
    const [extension] = await python<string[]>(code, folder);
    const client = testClient(world.s3);
    await uploadTree(client, world.bucket, folder, `venv-${channel}/`);
    client.destroy();
    const prefix = `venv-${channel}/`;
    const mount = await world.mount(["--channel", channel, "--metadata", "full"], {
      prefix,
      name: `venv-${channel}`,
    });
    const imported = await shell(`./bin/python -c "import parcel; print(parcel.VALUE)"`, mount);
    expect(imported).toBe(`imported from ${mount}\n`);
    const name = extension!.split(".")[0]!;
    expect(await shell(`./bin/python -c "import parcel.${name} as m; print(m.__file__)"`, mount)).toContain(
      `${mount}/lib/`,
    );
    expect(await shell("readlink bin/python3", mount)).toBe(await shell("readlink bin/python3", folder));
  });

  test("a file of 5 GiB is read at its end, beyond 4 GiB and at random", async () => {
    const mount = await world.mount(["--channel", channel], { prefix: "huge/", name: `huge-${channel}` });
    const offsets = [0, 4 * GiB - 3, 3 * GiB + 123_456, HUGE.sizeBytes - 5000];
    const found = await python<string[]>(
      `
fd = os.open(args[0], os.O_RDONLY)
answer([os.fstat(fd).st_size] + [os.pread(fd, 5000, offset).hex() for offset in args[1]])
`,
      path.join(mount, "file"),
      offsets,
    );
    const wanted = offsets.map((offset) => syntheticBytes(HUGE.seed, offset, 5000).toString("hex"));
    expect(found).toEqual([HUGE.sizeBytes, ...wanted]);
    const tail = syntheticBytes(HUGE.seed, HUGE.sizeBytes - 10, 10).toString("hex");
    expect(await shell("tail -c 10 file | od -An -v -tx1 | tr -d ' \\n'", mount)).toBe(tail);
  });

  test("a folder of 100,000 entries is listed whole, and any of them opens", async () => {
    const mount = path.join(world.folder, `many-${channel}`);
    await mkdir(mount);
    expect(await world.hawser(["mount", "s3://many/flat/", mount, "--channel", channel])).toMatchObject({
      code: 0,
    });
    const [count, unique, bytes, sample] = await python<unknown[]>(
      `
entries = [(entry.name, entry.stat().st_size) for entry in os.scandir(args[0])]
answer([len(entries), len({name for name, _ in entries}), sum(size for _, size in entries),
        [open(f"{args[0]}/item-{i:06d}").read() for i in (0, 31415, 99999)]])
`,
      mount,
    );
    expect([count, unique, sample]).toEqual([MANY, MANY, ["0", "31415", "99999"]]);
    expect(bytes).toBe(488_890);
  });

  test("the mount refuses every change", async () => {
    const attempts = await shell(
      "touch new; echo x >> sizes/mib; rm text/0/0/file-0.txt; mkdir d; true",
      mounted,
    );
    expect(attempts.match(/Read-only file system/g)).toHaveLength(4);
    await expect(writeFile(path.join(mounted, "sizes/new"), "x")).rejects.toMatchObject({ code: "EROFS" });
  });
});
