/**
 * Programs on a real writable mount: what they write is in the bucket, byte by byte, once the volume is unmounted.
 *
 * A tree is made on the mount and on a local disk by the same program, and the bucket is compared with the local tree.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, readlink, readdir } from "node:fs/promises";
import { join } from "node:path";
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { whyNotFuseNative } from "../support/channels.ts";
import { World, isMounted, runProgram } from "./harness.ts";

let world: World;
let client: S3Client;

beforeAll(async () => {
  world = await World.open();
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION } = world.environment;
  client = new S3Client({
    endpoint: world.s3.url,
    region: AWS_REGION!,
    forcePathStyle: true,
    credentials: { accessKeyId: AWS_ACCESS_KEY_ID!, secretAccessKey: AWS_SECRET_ACCESS_KEY! },
  });
});

afterAll(async () => {
  client.destroy();
  await world.close();
});

/** Every object below a prefix: key below it, and a hash of its bytes. Folder markers are left out. */
async function bucketTree(prefix: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  let token: string | undefined;
  do {
    const page = await client.send(
      new ListObjectsV2Command({ Bucket: world.bucket, Prefix: prefix, ContinuationToken: token }),
    );
    for (const { Key } of page.Contents ?? []) {
      if (Key!.endsWith("/")) continue;
      const object = await client.send(new GetObjectCommand({ Bucket: world.bucket, Key }));
      const bytes = await object.Body!.transformToByteArray();
      tree[Key!.slice(prefix.length)] = createHash("sha256").update(bytes).digest("hex");
    }
    token = page.NextContinuationToken;
  } while (token);
  return tree;
}

/** The same of a local folder. A link is its target. */
async function localTree(folder: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) continue;
    const bytes = entry.isSymbolicLink() ? await readlink(path) : await readFile(path);
    tree[path.slice(folder.length + 1)] = createHash("sha256").update(bytes).digest("hex");
  }
  return tree;
}

const SCRIPTS: Record<string, string> = {
  "shells and coreutils": `
    mkdir -p a/b/c && echo hello > a/one && echo more >> a/one && cp a/one a/b/two && mv a/b/two a/b/c/three
    seq 1 100000 > a/numbers && head -c 5000000 /dev/zero | tr '\\0' x > big && ln -s a/one link
    mv a moved && cp -a moved copy && rm -r copy/b && sed -i s/hello/HELLO/ moved/one
    truncate -s 3000000 big && dd if=/dev/zero of=dd bs=1M count=3 conv=fsync status=none
    dd if=moved/numbers of=big bs=1 seek=10 count=100 conv=notrunc status=none
    touch empty && chmod 640 empty && mkdir gone && rmdir gone && cp --sparse=always big sparse
    test "$(cat moved/one)" = "$(printf 'HELLO\\nmore')" && test ! -e a`,
  tar: `
    mkdir src && for i in $(seq 1 200); do mkdir -p src/$((i % 7)); seq 1 $i > src/$((i % 7))/$i; done
    tar cf all.tar src && mkdir out && tar xf all.tar -C out && diff -r src out/src && rm -r src all.tar`,
  git: `
    export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
    git init -q repo && cd repo && git config core.trustctime false && git config gc.auto 0
    for i in 1 2 3; do echo $i > f$i && git add f$i && git commit -q -m "c$i"; done
    git mv f1 g1 && git commit -q -m moved && test -z "$(git status --porcelain)"
    git clone -q . ../clone && git -C ../clone log --oneline | wc -l | grep -q 4 && git fsck --strict
    rm -rf .git/index .git/logs ../clone/.git/{index,logs,config}`,
  "python's shutil, sqlite and mmap": `
    python3 - <<'PY'
import mmap, os, shutil, sqlite3
os.makedirs("tree/deep"); open("tree/deep/x", "w").write("x" * 100)
shutil.move("tree", "there"); shutil.copytree("there", "again"); shutil.rmtree("there")
with open("mapped", "wb") as f: f.truncate(1 << 20)
with open("mapped", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0); m[1000:1005] = b"hello"; m.flush(); m.close()
assert open("mapped", "rb").read()[1000:1005] == b"hello"
db = sqlite3.connect("db.sqlite"); db.execute("create table t (x)")
for i in range(10):
    db.execute("insert into t values (?)", (i,)); db.commit()
assert db.execute("pragma integrity_check").fetchone() == ("ok",); db.close()
with open("tmp", "wb") as f:
    f.write(b"checkpoint"); f.flush(); os.fsync(f.fileno())
os.replace("tmp", "final")
PY`,
};

/** Runs a script on a mount and on a local disk, and compares the bucket with the local tree. */
async function sameAsLocal(name: string, channel: "native" | "fuse-native"): Promise<void> {
  const prefix = `${name.replace(/\W+/g, "-")}-${channel}`;
  const mount = await world.mount(["--writable", "--channel", channel], { prefix, name: prefix });
  const local = join(world.folder, `${prefix}-local`);
  await mkdir(local, { recursive: true });
  for (const folder of [local, mount]) {
    const run = await runProgram("bash", ["-e", "-c", `cd ${folder}\n${SCRIPTS[name]}`]);
    expect(`${run.code} ${folder} ${run.stderr}`).toMatch(/^0 /);
  }
  const unmounted = await world.hawser(["unmount", mount]);
  expect(unmounted).toMatchObject({ code: 0 });
  expect(isMounted(mount)).toBe(false);
  expect(await bucketTree(`${prefix}/`)).toEqual(await localTree(local));
}

test.each(Object.keys(SCRIPTS))("W1 what %s write is in the bucket as on a local disk", (name) =>
  sameAsLocal(name, "native"),
);

const without = whyNotFuseNative();
test.skipIf(without !== "").each(Object.keys(SCRIPTS))(
  `W1 what %s write is in the bucket, on the fuse-native channel${without}`,
  (name) => sameAsLocal(name, "fuse-native"),
);

test("W9 attributes come back after a remount", async () => {
  const mount = await world.mount(["--writable"], { prefix: "attrs", name: "attrs" });
  const script = `cd ${mount}
    echo x > f && chmod 4751 f && touch -d '2001-02-03 04:05:06.5Z' f && python3 -c 'import os; os.setxattr("f", "user.note", b"hi")'
    mkdir -m 1777 d && ln -s f l && chown 12:34 f && chmod 4751 f && touch -d '2001-02-03 04:05:06.5Z' f`;
  expect(await runProgram("bash", ["-e", "-c", script])).toMatchObject({ code: 0 });
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  const again = await world.mount(["--writable"], { prefix: "attrs", name: "attrs" });
  const stat = await runProgram("stat", ["-c", "%a %u %g %.1Y", `${again}/f`]);
  expect(stat.stdout.trim()).toBe("4751 12 34 981173106.5");
  expect((await runProgram("stat", ["-c", "%a %F", `${again}/d`])).stdout.trim()).toBe("1777 directory");
  expect((await runProgram("readlink", [`${again}/l`])).stdout.trim()).toBe("f");
  const head = await client.send(new HeadObjectCommand({ Bucket: world.bucket, Key: "attrs/f" }));
  expect(head.Metadata).toMatchObject({ uid: "12", gid: "34", mtime: "981173106.5" });
  expect(await world.hawser(["unmount", again])).toMatchObject({ code: 0 });
});
