/** What MPI, DeepSpeed and Accelerate read of who is in the pool. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";
import { writeTopology } from "../../../src/launch/worker/topology.ts";

let work: string;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "hawser-topology-"));
});
afterEach(() => rmSync(work, { recursive: true }));

const user = { name: "someone", uid: process.getuid!(), gid: process.getgid!(), home: "/home/someone" };

function peers(...gpus: number[]) {
  return gpus.map((count, rank) => ({
    rank,
    name: `node-${rank}`,
    address: `10.0.0.${rank + 1}`,
    gpus: count,
  }));
}

test("the hostfile has a line a node, in the order of ranks, with a slot for each GPU", () => {
  writeTopology(work, { peers: peers(4, 8), rank: 0, user });
  const hostfile = join(work, ".hawser", "hostfile");
  expect(readFileSync(hostfile, "utf8")).toBe("10.0.0.1 slots=4\n10.0.0.2 slots=8\n");
  expect(statSync(hostfile)).toMatchObject({ uid: user.uid, gid: user.gid });
});

test("Accelerate's configuration is the node's own: its rank, the head, all processes", () => {
  writeTopology(work, { peers: peers(4, 8), rank: 1, user });
  expect(parse(readFileSync(join(work, ".hawser", "accelerate.yaml"), "utf8"))).toEqual({
    compute_environment: "LOCAL_MACHINE",
    distributed_type: "MULTI_GPU",
    machine_rank: 1,
    main_process_ip: "10.0.0.1",
    main_process_port: 29500,
    num_machines: 2,
    num_processes: 12,
    rdzv_backend: "static",
  });
});

test("nodes without GPUs have one slot and one process each", () => {
  writeTopology(work, { peers: peers(0, 0, 0), rank: 2, user });
  expect(readFileSync(join(work, ".hawser", "hostfile"), "utf8")).toBe(
    "10.0.0.1 slots=1\n10.0.0.2 slots=1\n10.0.0.3 slots=1\n",
  );
  expect(parse(readFileSync(join(work, ".hawser", "accelerate.yaml"), "utf8"))).toMatchObject({
    distributed_type: "MULTI_CPU",
    num_machines: 3,
    num_processes: 3,
  });
});
