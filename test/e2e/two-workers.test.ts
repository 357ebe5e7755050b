/** Two workers with the same volume: what one writes, the other sees in time, at once when told, and never mixed. */
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { World, eventually, runProgram } from "./harness.ts";

let world: World;
/** A worker's own state, as on a machine of its own. */
let other: Record<string, string>;
let reader: string;

beforeEach(async () => {
  world = await World.open();
  other = { HAWSER_STATE_DIR: join(world.folder, "other-state") };
  reader = await world.mountPoint("reader");
});

afterEach(async () => {
  await world.hawser(["unmount", "--force", reader], { env: other });
  await world.close();
});

async function mountReader(...args: string[]): Promise<void> {
  const run = await world.hawser(["mount", `s3://${world.bucket}/`, reader, ...args], { env: other });
  expect(run).toMatchObject({ code: 0 });
}

async function shell(script: string): Promise<string> {
  const { code, stdout, stderr } = await runProgram("bash", ["-e", "-c", script]);
  return code === 0 ? stdout : `ended with ${code}: ${stdout}${stderr}`;
}

test("R7 a file that was closed and flushed on one worker is there on another within metadataTtl", async () => {
  const writer = await world.mount(["--writable"], { name: "writer" });
  expect(await shell(`echo one > ${writer}/file`)).toBe("");
  expect(await world.hawser(["flush", writer])).toMatchObject({ code: 0 });
  await mountReader("--metadata-ttl", "2s");
  expect(await shell(`cat ${reader}/file; ls ${reader}`)).toBe("one\nfile\n");
  expect(await shell(`echo second > ${writer}/file; mkdir ${writer}/new; echo x > ${writer}/new/x`)).toBe("");
  expect(await world.hawser(["flush", writer])).toMatchObject({ code: 0 });
  const flushed = performance.now();
  await eventually("the other worker sees it", async () => {
    const began = performance.now();
    const seen = await shell(`cat ${reader}/file; cat ${reader}/new/x 2> /dev/null || true`);
    expect(seen).toMatch(/^(one|second)\n(x\n)?$/);
    // Whoever looks later than that sees it, however long the look takes on a busy machine.
    if (began - flushed > 2000 + 1000) expect(seen).toBe("second\nx\n");
    return seen === "second\nx\n";
  });
});

test("R7 what another worker has put over a file that was written here is seen by its name alone", async () => {
  const mine = await world.mount(["--writable", "--metadata-ttl", "1s"], { name: "writer" });
  expect(await shell(`mkdir ${mine}/d; echo mine > ${mine}/d/state`)).toBe("");
  expect(await world.hawser(["flush", mine])).toMatchObject({ code: 0 });
  await mountReader("--writable", "--metadata-ttl", "1s");
  for (const text of ["theirs", "theirs again"]) {
    expect(
      await shell(`echo ${text} > ${reader}/d/state.tmp; mv ${reader}/d/state.tmp ${reader}/d/state`),
    ).toBe("");
    expect(await world.hawser(["flush", reader], { env: other })).toMatchObject({ code: 0 });
    await eventually("it is seen here", async () => (await shell(`cat ${mine}/d/state`)) === `${text}\n`);
  }
  // And the other way round: neither is in the other's way.
  expect(await shell(`echo mine again > ${mine}/d/state`)).toBe("");
  expect(await world.hawser(["flush", mine])).toMatchObject({ code: 0 });
  await eventually("it is seen there", async () => (await shell(`cat ${reader}/d/state`)) === "mine again\n");
});

test("W13 hawser refresh on the other worker shows it at once, whatever metadataTtl is", async () => {
  const writer = await world.mount(["--writable"], { name: "writer" });
  expect(await shell(`mkdir ${writer}/d; echo one > ${writer}/d/file; echo same > ${writer}/d/other`)).toBe(
    "",
  );
  expect(await world.hawser(["flush", writer])).toMatchObject({ code: 0 });
  await mountReader("--metadata-ttl", "1h");
  expect(await shell(`cat ${reader}/d/file; ls ${reader}/d`)).toBe("one\nfile\nother\n");
  expect(
    await shell(`echo second > ${writer}/d/file; rm ${writer}/d/other; echo 3 > ${writer}/d/third`),
  ).toBe("");
  expect(await world.hawser(["flush", writer])).toMatchObject({ code: 0 });
  expect(await shell(`cat ${reader}/d/file; ls ${reader}/d`)).toBe("one\nfile\nother\n");
  expect(await world.hawser(["refresh", join(reader, "d")], { env: other })).toMatchObject({ code: 0 });
  expect(await shell(`cat ${reader}/d/file; ls ${reader}/d`)).toBe("second\nfile\nthird\n");
});

const VERSIONS = `
import random, time
SIZE = 5 << 20
def version(number):
    "Every 4 KiB of a version tell its number; sizes differ too."
    return number.to_bytes(8, "little") * 512 * (SIZE // 4096 + number % 7)
def number_of(data):
    "The version that these bytes are, whole."
    number = int.from_bytes(data[:8], "little")
    assert data == version(number), f"a mix: {sorted({data[i:i + 8] for i in range(0, len(data), 4096)})} in {len(data)} bytes"
    return number
`;

const READER = `${VERSIONS}
import sys
path, last, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seen, gone = [], 0
while not seen or seen[-1] < last:
    try:
        with open(path, "rb", buffering=0) as file:
            if how == "mapping":
                import mmap
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view: data = view[:]
            else:
                data = b"".join(iter(lambda: file.read(300_000), b""))
        number = number_of(data)
        if number not in seen: print(f"saw {number}", flush=True)
        seen.append(number)
    except OSError as error:
        # The version that was opened is gone from the store: said, not mixed.
        assert error.errno == 116, error
        gone += 1
assert seen == sorted(seen), seen
`;

test.each([
  {
    how: "renames a new file over it",
    replace: `
    with open(path + ".tmp", "wb") as file:
        file.write(version(number)); file.flush(); os.fsync(file.fileno())
    os.rename(path + ".tmp", path)
    fd = os.open(os.path.dirname(path), os.O_RDONLY); os.fsync(fd); os.close(fd)`,
  },
  {
    how: "writes it anew in its place",
    replace: `
    with open(path, "wb") as file: file.write(version(number))
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)`,
  },
])(
  "a reader elsewhere sees one version or another, never a mix, while a worker $how",
  async ({ replace }) => {
    const rounds = 25;
    const writer = await world.mount(["--writable"], { name: "writer" });
    await mountReader("--metadata-ttl", "100ms");
    const write = (from: number, to: number): Promise<number> =>
      python(
        `${VERSIONS}
path = args[0]
for number in range(args[1], args[2] + 1):${replace}
answer(0)`,
        join(writer, "model"),
        from,
        to,
      );
    await write(1, 1);
    const whole = world.start("python3", ["-c", READER, join(reader, "model"), String(rounds), "read"]);
    // It sees versions come, not just the last one, and reads on while they do.
    await whole.says(/saw 1\n/);
    await write(2, 12);
    await whole.says(/saw 12\n/);
    await write(13, rounds);
    expect(await whole.ended).toEqual({ code: 0, signal: null });
    expect(whole.output).toContain(`saw ${rounds}\n`);
  },
);
