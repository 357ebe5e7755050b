/**
 * Checkpoints as PyTorch, its distributed checkpoints and safetensors are released to write them: what `hawser checkpoint`
 * takes for complete is, what is cut is not, and what comes back from the bucket loads.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, rm, truncate, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Checkpoints } from "../../src/index.ts";
import { DEFAULT_CREDENTIALS } from "../../src/devs3/index.ts";
import { startTestS3 } from "../support/dev-s3.ts";
import type { TestS3 } from "../support/dev-s3.ts";
import { torchTools } from "../support/torch-tools.ts";
import { inScratch } from "./trees.ts";

const SAVE = `
import sys, torch, torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
folder = sys.argv[1]
torch.manual_seed(1)
state = {f"layer.{i}": torch.randn(257, 129) for i in range(3)}
torch.save({"model": state, "step": 1}, f"{folder}/step_1.pt")
dcp.save(state, checkpoint_id=f"{folder}/step_2", no_dist=True)
save_file(state, f"{folder}/step_3.safetensors")
torch.save({"model": state}, f"{folder}/step_4.pt", _use_new_zipfile_serialization=False)
`;

const LOAD = `
import sys, torch, torch.distributed.checkpoint as dcp
from safetensors.torch import load_file
folder = sys.argv[1]
torch.manual_seed(1)
state = {f"layer.{i}": torch.randn(257, 129) for i in range(3)}
read = {name: torch.zeros(257, 129) for name in state}
dcp.load(read, checkpoint_id=f"{folder}/step_2", no_dist=True)
found = [torch.load(f"{folder}/step_1.pt")["model"], read, load_file(f"{folder}/step_3.safetensors")]
for one in found:
    assert all(torch.equal(one[name], state[name]) for name in state)
`;

const execute = promisify(execFile);

async function python(code: string, folder: string): Promise<void> {
  const tools = await torchTools();
  const env = { ...process.env, PYTHONWARNINGS: "ignore", OMP_NUM_THREADS: "1" };
  await execute(tools.program("python"), ["-c", code, folder], { env, timeout: 300_000 });
}

let server: TestS3;
let checkpoints: Checkpoints;
beforeAll(async () => {
  server = await startTestS3();
  const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
  const credentials = { accessKeyId, secretAccessKey };
  checkpoints = new Checkpoints({ endpoint: server.s3.url, region: server.s3.region, credentials, env: {} });
});
afterAll(async () => {
  await checkpoints?.close();
  await server?.close();
});

async function states(folder: string, settleMs = 3_600_000): Promise<Record<string, string>> {
  const steps = await checkpoints.list(folder, { settleMs });
  return Object.fromEntries(steps.map(({ name, state }) => [name, state]));
}

test("what is saved is complete, what is cut anywhere is not, and what comes back loads", () =>
  inScratch(async (at) => {
    const out = at.path("out");
    await mkdir(out);
    await python(SAVE, out);
    // An old format does not say how long it is: it has to settle.
    const complete = {
      "step_4.pt": "writing",
      "step_3.safetensors": "complete",
      step_2: "complete",
      "step_1.pt": "complete",
    };
    expect(await states(out)).toEqual(complete);
    expect(await states(out, 0)).toEqual({ ...complete, "step_4.pt": "complete" });
    const cut = at.path("cut");
    for (const file of ["step_1.pt", "step_3.safetensors"]) {
      const { size } = await stat(`${out}/${file}`);
      for (const length of [4, 1000, Math.floor(size / 2), size - 1]) {
        await cp(out, cut, { recursive: true });
        await truncate(`${cut}/${file}`, length);
        expect((await states(cut, 0))[file], `${file} cut at ${length}`).toBe("writing");
        await rm(cut, { recursive: true });
      }
    }
    for (const file of await readdir(`${out}/step_2`)) {
      await cp(out, cut, { recursive: true });
      await rm(`${cut}/step_2/${file}`);
      expect((await states(cut, 0))["step_2"], `without ${file}`).toBe("writing");
      await rm(cut, { recursive: true });
    }
    const run = `s3://${server.bucket}/run`;
    const { pushed, summary } = await checkpoints.push(out, run, { settleMs: 0 });
    expect(summary.failed).toBe(0);
    expect(pushed).toHaveLength(4);
    expect((await checkpoints.verify(run)).filter(({ problem }) => problem)).toEqual([]);
    const back = at.path("back");
    for (const step of [1, 2, 3]) await checkpoints.pull(run, back, { step });
    await python(LOAD, back);
  }));
