/** What was written here is the cache's new version: it is read back, now and after a remount, without a GET. */
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { World } from "./harness.ts";

let world: World;
let mount: string;
let args: string[];

beforeEach(async () => {
  world = await World.open();
  args = ["--writable", "--cache-dir", join(world.folder, "cache")];
  mount = await world.mount(args);
});
afterEach(() => world.close());

/** Files as a run writes them: a large one, one over an older version, and many small ones. */
const WRITE = `
import random
folder = args[0]
def content(name):
    return random.Random(name).randbytes({"large": 40 << 20, "replaced": 3_000_001}.get(name, 10_000))
names = ["large", "replaced"] + [f"small-{i}" for i in range(40)]
`;

/** Reads every file with nothing of it in the page cache. @returns the names whose bytes are right */
const READ = `
right = []
for name in names:
    with open(f"{folder}/{name}", "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if file.read() == content(name): right.append(name)
answer(right)
`;

async function written(): Promise<string[]> {
  const names = await python<string[]>(
    `${WRITE}
open(f"{folder}/replaced", "w").write("an older version")
os.sync()
for name in names:
    with open(f"{folder}/{name}.tmp", "wb") as file: file.write(content(name))
    os.rename(f"{folder}/{name}.tmp", f"{folder}/{name}")
answer(names)`,
    mount,
  );
  expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
  return names;
}

function gets(): string[] {
  return world.s3.requests.of("GetObject").map(({ key }) => key!);
}

test("a checkpoint is read back without a GET, before it is in the bucket and after", async () => {
  const hold = world.s3.faults.add({ operation: ["PutObject", "CreateMultipartUpload"], hold: true });
  const pending = await python<string[]>(
    `${WRITE}
for name in names:
    with open(f"{folder}/{name}", "wb") as file: file.write(content(name))
${READ}`,
    mount,
  );
  expect(pending).toHaveLength(42);
  hold.remove();
  const names = await written();
  expect(await python(WRITE + READ, mount)).toEqual(names);
  expect(gets()).toEqual([]);
});

test("a checkpoint is read back without a GET after a remount with the same cache folder", async () => {
  const names = await written();
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
  await world.mount(args);
  expect(await python(WRITE + READ, mount)).toEqual(names);
  expect(gets()).toEqual([]);
});

test("only the version that was written is believed: one that somebody else put is fetched", async () => {
  await written();
  await world.put("small-7", "somebody else's");
  expect(await world.hawser(["refresh", mount])).toMatchObject({ code: 0 });
  const read = await python<string>(`answer(open(args[0]).read())`, join(mount, "small-7"));
  expect(read).toBe("somebody else's");
  // A request that a busy machine is late to answer may be sent twice.
  expect(new Set(gets())).toEqual(new Set(["small-7"]));
});
