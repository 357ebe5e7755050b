/** What names and attributes cost in requests, and which names the bucket gets to see. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { World, runProgram } from "./harness.ts";

let world: World;
let mount: string;
beforeEach(async () => {
  world = await World.open();
  mount = await world.mount(["--writable"]);
});
afterEach(async () => {
  await world.close();
});

/** Runs a script on the mount and waits for the bucket. @returns what was sent that changes something */
async function sent(script: string): Promise<string[]> {
  world.s3.requests.clear();
  const { code, stderr } = await runProgram("bash", ["-ec", `cd ${mount}\n${script}`]);
  expect([code, stderr]).toEqual([0, ""]);
  return await flushed();
}

async function flushed(): Promise<string[]> {
  expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
  return world.s3.requests
    .of("PutObject", "CopyObject", "DeleteObject", "CreateMultipartUpload")
    .map(({ operation, key }) => `${operation} ${key}`);
}

test("W9 chmod, chown and touch of an object are one copy on the server", async () => {
  await sent("echo x > file");
  let requests: string[] = [];
  // What follows within a tenth of a second is one change: it is tried until a busy machine starts three programs so fast.
  for (let i = 0; i < 100 && requests.length !== 1; i++) {
    requests = await sent(`chmod ${600 + (i % 2)} file; chown 12:${34 + i} file; touch -d 2001-02-03 file`);
    expect(new Set(requests)).toEqual(new Set(["CopyObject file"]));
  }
  expect(requests).toEqual(["CopyObject file"]);
});

test("W9 an extended attribute of an object is set and removed by a copy on the server", async () => {
  await sent("echo x > file");
  for (const change of [`os.setxattr(args[0], "user.note", b"1")`, `os.removexattr(args[0], "user.note")`]) {
    world.s3.requests.clear();
    await python(`${change}\nanswer(0)`, `${mount}/file`);
    expect(await flushed()).toEqual(["CopyObject file"]);
  }
});

test("W9 cp -p and tar x are one PUT a file, and a copy as rsync makes it sends its content once", async () => {
  const source = `mkdir ${world.folder}/source && cd ${world.folder}/source && echo x > a && chmod 640 a && touch -d 2001-02-03 a
    tar cf ../a.tar a && cd ${mount} && `;
  expect(await sent(`${source} cp -p ${world.folder}/source/a copied`)).toEqual(["PutObject copied"]);
  expect(await sent(`tar xf ${world.folder}/a.tar`)).toEqual(["PutObject a"]);
  world.s3.requests.clear();
  await python(
    `
os.chdir(args[0])
fd = os.open(".synced.Xy12ab", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, b"content")
os.close(fd)
os.utime(".synced.Xy12ab", (1e9, 1e9))
os.chmod(".synced.Xy12ab", 0o640)
os.rename(".synced.Xy12ab", "synced")
answer(0)`,
    mount,
  );
  const requests = await flushed();
  // The attributes may arrive once more by a copy on the server, the content never does.
  expect(requests.filter((request) => request !== "CopyObject synced")).toEqual(["PutObject synced"]);
});

test("W7 RENAME_EXCHANGE of objects shows no name that nobody gave", async () => {
  await sent(
    "echo one > one; echo the other > other; mkdir -p d/x e; echo 1 > d/x/1; echo 2 > d/2; echo 3 > e/2; echo 4 > e/4",
  );
  world.s3.requests.clear();
  await python(
    `
os.chdir(args[0])
for first, second in (("one", "other"), ("d", "e")):
    checked(libc.renameat2(-100, first.encode(), -100, second.encode(), 2))
answer(0)`,
    mount,
  );
  const { stdout } = await runProgram("bash", ["-c", `cd ${mount}; cat one other d/2 d/4 e/2 e/x/1`]);
  expect(stdout).toBe("the other\none\n3\n4\n2\n1\n");
  const changes = await flushed();
  const names = new Set(changes.map((change) => change.split(" ")[1]));
  expect(names).toEqual(new Set(["d/2", "d/4", "d/x/1", "e/2", "e/4", "e/x/1", "one", "other"]));
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  await world.mount([]);
  const again = await runProgram("bash", ["-c", `cd ${mount}; cat one other d/2 d/4 e/2 e/x/1`]);
  expect(again.stdout).toBe("the other\none\n3\n4\n2\n1\n");
});
