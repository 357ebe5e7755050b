/** How many GPUs a node should have, and when it counts as one that has lost some. */
import { expect, test } from "vitest";
import { lostGpus, refuseLostGpus } from "../../../src/launch/gpus.ts";

const instance = { id: "i-1", facts: { gpus: { count: 4, name: "T4" } } };
const host = { id: "h" };
const four = ["T4", "T4", "T4", "T4"];

test.each([
  ["an instance with all", instance, { gpus: four, driverGpus: 4 }, undefined, false],
  ["an instance that lost one", instance, { gpus: four.slice(1), driverGpus: 4 }, /lists 3 of its 4/, true],
  [
    "an instance whose driver lost one too",
    instance,
    { gpus: four.slice(1), driverGpus: 3 },
    /3 of its 4/,
    true,
  ],
  ["an instance that waits for its driver", instance, { gpus: [], driverGpus: 0 }, /lists 0 of its 4/, false],
  ["an instance that lost all", instance, { gpus: [], driverGpus: 4 }, /lists 0 of its 4/, true],
  ["a host with all", host, { gpus: four, driverGpus: 4 }, undefined, false],
  ["a host that lost one", host, { gpus: four.slice(1), driverGpus: 4 }, /lists 3 of its 4/, true],
  ["a host without any", host, { gpus: [], driverGpus: 0 }, undefined, false],
  ["a container that was given two", host, { gpus: four.slice(2), driverGpus: 0 }, undefined, false],
] as const)("%s", (_what, node, found, said, refused) => {
  const gpus = { ...found, gpus: [...found.gpus] };
  const lost = lostGpus(node, gpus);
  if (said === undefined) expect(lost).toBeUndefined();
  else expect(lost).toMatch(said);
  if (refused) expect(() => refuseLostGpus(node, gpus)).toThrow(/another machine/);
  else expect(() => refuseLostGpus(node, gpus)).not.toThrow();
});
