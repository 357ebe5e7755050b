/**
 * Real programs that write, on a writable mount: what they made is in the bucket, byte by byte, as they would have made
 * it on a local disk.
 */
import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { makeTree } from "./program-tree.ts";
import { folderTree } from "./stored-tree.ts";
import { type Place, openPlace, shell } from "./writable-place.ts";

const hasGit = hasProgram("git");
const hasMake = hasProgram("make");

function hasProgram(name: string): boolean {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

let place: Place;
/** A tree on the local disk to copy, pack and move. */
let source: string;

beforeAll(async () => {
  place = await openPlace();
  source = path.join(place.scratch, "source");
  await mkdir(source);
  await makeTree(source);
  await shell("ln -s ../text/0/0/file-0.txt sizes/link && mkdir empty && chmod 600 sizes/mib", source);
}, 120_000);

afterAll(() => place?.close());

/** Runs a script in a folder of the mount and in one of the local disk, and compares bucket, mount and local disk. */
async function sameAsLocal(name: string, script: string): Promise<void> {
  const local = path.join(place.scratch, name);
  await mkdir(local);
  const folder = await place.folder(name);
  const said = await shell(script, folder, source);
  expect(said.replaceAll(folder, "")).toBe((await shell(script, local, source)).replaceAll(local, ""));
  const wanted = await folderTree(local);
  expect(Object.keys(wanted)).not.toHaveLength(0);
  expect(await folderTree(folder)).toEqual(wanted);
  expect(await place.stored(name)).toEqual(wanted);
}

test("tar unpacks a tree, and packs it again to the same archive", () =>
  sameAsLocal(
    "tar",
    `tar cf - -C "$1" . | tar xf -
tar cf ../again.tar --sort=name --owner=0 --group=0 . && tar df ../again.tar && rm ../again.tar`,
  ));

test("cp -a copies a tree with modes, times and links", () =>
  sameAsLocal("cp", `cp -a "$1/." . && find . -type f -printf '%P %m %TY-%Tm-%Td %TH:%TM:%.9TS\\n' | sort`));

test("cp --sparse writes a file with holes", () =>
  sameAsLocal(
    "sparse",
    `truncate -s 20M holes && printf begin | dd of=holes conv=notrunc status=none
printf middle | dd of=holes bs=1M seek=10 conv=notrunc status=none
cp --sparse=always holes copy && cmp holes copy`,
  ));

test("sed -i rewrites files in their place", () =>
  sameAsLocal(
    "sed",
    `cp -r "$1/text" . && find text -name '*.txt' -exec sed -i.bak 's/line 7/LINE SEVEN/; 3d' '{}' + && rm text/0/0/*.bak`,
  ));

test("dd writes with conv=fsync, in the middle of a file and with O_SYNC", () =>
  sameAsLocal(
    "dd",
    `dd if="$1/sizes/ten-mib" of=whole bs=64k conv=fsync status=none
dd if="$1/sizes/mib" of=whole bs=4099 seek=300 conv=notrunc,fdatasync status=none
dd if="$1/sizes/mib" of=sync bs=512k oflag=sync status=none && truncate -s 700001 sync`,
  ));

test("an editor saves: a backup by rename, a new file, fsync", async () => {
  await sameAsLocal("edit", `cp "$1/text/0/0/file-0.txt" one.txt && cp one.txt two.txt`);
  // What vim does with backupcopy=no and with backupcopy=yes; its swap file is there meanwhile.
  const save = `
for folder in args:
    for name in ("one.txt", "two.txt"):
        target = f"{folder}/{name}"
        swap = os.open(f"{folder}/.{name}.swp", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.pwrite(swap, b"swap" * 1024, 0)
        for turn in range(3):
            before = open(target).read()
            found = os.stat(target)
            if name == "one.txt":
                os.rename(target, target + "~")
                fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, found.st_mode & 0o777)
            else:
                open(target + "~", "w").write(before)
                fd = os.open(target, os.O_WRONLY | os.O_TRUNC)
            os.write(fd, (before + f"saved {turn}\\n").encode())
            os.fsync(fd)
            os.fchmod(fd, found.st_mode & 0o777)
            os.close(fd)
            assert os.stat(target).st_size == len(before) + 8
            os.pwrite(swap, b"more", 4096 * turn)
        os.close(swap)
        os.unlink(f"{folder}/.{name}.swp")
        os.unlink(target + "~") if name == "one.txt" else None
answer(0)`;
  const local = path.join(place.scratch, "edit");
  await python(save, local, await place.folder("edit"));
  const wanted = await folderTree(local);
  expect(Object.keys(wanted)).toEqual(["one.txt", "two.txt", "two.txt~"]);
  expect(await place.stored("edit")).toEqual(wanted);
});

test("shutil.move moves trees within the mount, into it and out of it", async () => {
  const local = path.join(place.scratch, "moved");
  const folder = await place.folder("move");
  await python(
    `
import shutil
source, folder, out = args
shutil.copytree(source, folder + "/a/deep/tree", symlinks=True)
shutil.move(folder + "/a/deep/tree", folder + "/b")
shutil.move(folder + "/b/text", folder + "/a")
os.mkdir(out)
shutil.copytree(source + "/text", out + "/text")
shutil.move(out + "/text", folder + "/in")
shutil.move(folder + "/b/sizes", out)
answer(0)`,
    source,
    folder,
    local,
  );
  const whole = await folderTree(source);
  const below = (prefix: string, as: string) =>
    Object.entries(whole)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, line]) => [as + name.slice(prefix.length), line]);
  const wanted = Object.fromEntries([
    ["a/deep/", "folder"],
    ...below("text/", "a/text/"),
    ...below("text/", "in/"),
    ...below("", "b/").filter(([name]) => !/^b\/(text|sizes)\//.test(name!)),
  ]) as Record<string, string>;
  expect(await place.stored("move")).toEqual(wanted);
  expect(await folderTree(path.join(local, "sizes"))).toEqual(Object.fromEntries(below("sizes/", "")));
});

test("rm -r, mv, mkdir -p, ln -s, chmod and touch leave what they leave on a local disk", () =>
  sameAsLocal(
    "shell",
    `cp -r "$1/text" text && mkdir -p a/b/c && mv text/1 a/b/one && rm -r text/2 && mv a z && mv z/b/one/0 z/b/c
ln -s b/c/file-1.txt z/link && ln -sfn c z/b/to-c && chmod 640 z/b/one/1/* && chmod 700 z/b && chmod +x text/0/0/*
mkdir gone gone/too && rmdir gone/too gone && touch -d '2001-02-03 04:05:06' text/0/0/file-0.txt z/new
stat -c '%n %a %Y %s' text/0/0/file-0.txt z/new && cat z/b/to-c/0/*`,
  ));

test.skipIf(!hasMake)(
  `make builds once: the second make has nothing to do, nor the one after a remount${hasMake ? "" : " [make is not installed]"}`,
  async () => {
    const folder = await place.folder("make");
    await shell(
      `mkdir src && for i in 1 2 3 4 5 6 7 8; do echo "source $i" > src/$i.c; done
cat > Makefile <<'EOF'
objects := $(patsubst src/%.c,build/%.o,$(wildcard src/*.c))
program: $(objects)
	cat $^ > $@
build/%.o: src/%.c | build
	sed 's/source/object/' $< > $@.tmp && mv $@.tmp $@
build:
	mkdir build
EOF
make -j2`,
      folder,
    );
    const nothing = "make: 'program' is up to date.\n";
    expect(await shell("make", folder)).toBe(nothing);
    expect(Object.keys(await place.stored("make"))).toHaveLength(8 + 8 + 2);
    expect(await shell("make", folder)).toBe(nothing);
    await place.again();
    expect(await shell("make", folder)).toBe(nothing);
    expect(await shell("touch src/3.c && make", folder)).toContain("build/3.o.tmp");
    expect(await shell("make", folder)).toBe(nothing);
  },
);

test.skipIf(!hasGit)(
  `git clones, commits, packs and finds its history whole in the bucket${hasGit ? "" : " [git is not installed]"}`,
  async () => {
    const folder = await place.folder("git");
    await shell(
      `git clone -q --no-local "$1/repository.git" work && cd work && git checkout -q -b topic
for i in 1 2 3 4 5; do echo "change $i" >> 0/0/file-0.txt; echo $i > new-$i; git add -A; git commit -q -m "Change $i"; done
git gc -q --prune=now && git mv new-1 renamed && git rm -q new-2 && git commit -q -m "After gc" && git branch side HEAD~2
git stash list && git reset -q --hard HEAD~1 && git merge -q --ff-only HEAD@{1} && git tag -a v2 -m v2 && git repack -q -a -d`,
      folder,
      source,
    );
    const asked =
      "cd work && git status --porcelain && git log --format='%s' topic && git tag && git branch && git fsck --full --no-progress";
    const said = await shell(asked, folder);
    expect(said).toContain("After gc\nChange 5\n");
    await place.stored("git");
    const copy = path.join(place.scratch, "git");
    await place.download("git", copy);
    // Empty folders git wants are there as markers; the index holds times and inodes, which are this copy's own.
    expect(await shell(`git -C work update-index -q --refresh; ${asked}`, copy)).toBe(said);
    expect(await folderTree(folder)).toEqual(await place.stored("git"));
  },
);

test("a log grows, as TensorBoard's do, while a reader tails it: each record is seen once and whole", async () => {
  const folder = await place.folder("events");
  const seen = await python<number[]>(
    `
import struct, subprocess, time
log = args[0] + "/events.out.tfevents.1"
writer = subprocess.Popen([sys.executable, "-c", '''
import struct, sys, zlib
with open(sys.argv[1], "ab") as log:
    for step in range(400):
        body = struct.pack("<I", step) * (1 + step % 50)
        log.write(struct.pack("<QI", len(body), zlib.crc32(body)) + body)
        if step % 3 == 0: log.flush()
        if step == 200: open(sys.argv[1] + ".half", "x").close()
''', log])
import zlib
steps, pending, reader = [], b"", None
deadline = time.monotonic() + 240
while len(steps) < 400 and time.monotonic() < deadline:
    if reader is None:
        try:
            reader = open(log, "rb")
        except FileNotFoundError:
            continue
    pending += reader.read()
    while len(pending) >= 12:
        size, crc = struct.unpack_from("<QI", pending)
        if len(pending) < 12 + size:
            break
        body = pending[12:12 + size]
        assert zlib.crc32(body) == crc, (len(steps), size)
        steps.append(struct.unpack_from("<I", body)[0])
        pending = pending[12 + size:]
assert writer.wait() == 0
answer(steps)`,
    folder,
  );
  expect(seen).toEqual(Array.from({ length: 400 }, (_, step) => step));
  expect(await place.stored("events")).toEqual(await folderTree(folder));
});
