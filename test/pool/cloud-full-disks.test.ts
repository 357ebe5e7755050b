/** A disk that is full, or fills, before the job: of one instance, which is replaced; of all, which is said. */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { CloudWorld } from "../support/cloud-world.ts";
import { TEST_BUCKET } from "../support/dev-s3.ts";
import type { HostOptions } from "../support/machine.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  const { project } = world;
  mkdirSync(join(project, "big"));
  // Does not get smaller by being packed.
  const content = randomBytes(6 * MiB);
  writeFileSync(join(project, "big", "data"), content);
  await world.put("in/big", content);
  await world.warmUp();
});

const files = (): string => "files: [{ from: big, to: /srv/big }]";
const inputs = (): string =>
  `inputs: [{ from: s3://${TEST_BUCKET}/in/big, to: /srv/big/data, endpoint: "${world.cloud.store.s3.url}" }]`;

test.each<[string, () => string, HostOptions, RegExp]>([
  [
    "the worker does not fit on it",
    () => "",
    { image: undefined, smallDisks: { "/var/lib": 40 * MiB } },
    /has \d+ MiB free, and the worker needs \d+ MiB.*Another machine takes its place/,
  ],
  [
    "it fills while the worker is sent",
    () => "",
    { image: undefined, smallDisks: { "/tmp": 4 * MiB } },
    /could not be written \(the disk may be full\).*Another machine takes its place/,
  ],
  ["it fills while files are sent", files, { smallDisks: { "/tmp": 4 * MiB } }, /the disk may be full/],
  [
    "it fills while files are unpacked",
    files,
    { smallDisks: { "/srv": 4 * MiB } },
    /The files could not be unpacked into \/srv\/big: .*(?:No space left|Wrote only)/,
  ],
  [
    "it fills while inputs are fetched",
    inputs,
    { smallDisks: { "/srv": 4 * MiB } },
    /There is no room for \/srv\/big/,
  ],
])("one of two, %s: it is replaced, and the job runs on all", async (_what, sent, small, said) => {
  const { cloud } = world;
  const made: string[] = [];
  cloud.hostOptions = small;
  cloud.onBoot = (instance) => {
    made.push(instance.id);
    cloud.hostOptions = {};
    instance.booted = instance.machine.start();
  };
  const size = sent() === "" ? "true" : "stat -c %s /srv/big/data > /mnt/out/size-$RANK";
  world.write(`${sent()}\njob: "${size}; echo $RANK > /mnt/out/room-$RANK"`, { data: false });
  const { code, stderr } = await world.hawser("pool", "run");
  expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringMatching(said) });
  expect(stderr).toMatch(
    new RegExp(`${made[0]}.*Another machine takes its place|takes the place of ${made[0]}`),
  );
  expect(made).toHaveLength(3);
  for (const rank of [0, 1]) {
    expect(await world.get(`out/room-${rank}`)).toBe(`${rank}\n`);
    if (sent() !== "") expect(await world.get(`out/size-${rank}`)).toBe(`${6 * MiB}\n`);
  }
});

test.each([
  ["files", files],
  ["inputs", inputs],
])("%s that fit on no instance end the run, which says so and replaces none", async (_what, sent) => {
  const { cloud } = world;
  let made = 0;
  cloud.hostOptions = { smallDisks: { "/srv": 4 * MiB } };
  cloud.onBoot = (instance) => {
    made++;
    instance.booted = instance.machine.start();
  };
  world.write(`${sent()}\njob: "touch /mnt/out/ran"`, { data: false });
  const { code, stderr } = await world.hawser("pool", "run");
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/No space left|Wrote only|There is no room for/);
  expect(stderr).toMatch(/\[no_space\]/);
  expect(made).toBe(2);
  expect(await world.get("out/ran")).toBeUndefined();
});
