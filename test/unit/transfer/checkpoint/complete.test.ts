/** Which checkpoints are complete: each layout whole, and with each of its files missing. */
import { closeSync, mkdtempSync, openSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Connection } from "../../../../src/transfer/connection.ts";
import { Checkpoints } from "../../../../src/transfer/checkpoint/checkpoints.ts";
import type { FindOptions } from "../../../../src/transfer/checkpoint/find.ts";
import { structureOf } from "../../../../src/transfer/checkpoint/file-structure.ts";
import { OLD_MS, deepSpeed, distributed, huggingFace, place, safetensorsFile, torchFile } from "./layouts.ts";
import type { Files } from "./layouts.ts";

let folder: string;
let checkpoints: Checkpoints;
let connection: Connection;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hawser-complete-"));
  connection = new Connection({ env: {} });
  checkpoints = new Checkpoints(connection);
});
afterEach(async () => {
  await connection.close();
  rmSync(folder, { recursive: true });
});

const states = (options: FindOptions = {}): Promise<Record<string, string>> => statesOf(folder, options);

async function statesOf(place: string, options: FindOptions = {}): Promise<Record<string, string>> {
  const steps = await checkpoints.list(place, options);
  return Object.fromEntries(steps.map(({ name, state }) => [name, state]));
}

const LAYOUTS: [string, string, Files][] = [
  ["PyTorch", "step_100.pt", { "step_100.pt": torchFile() }],
  ["Lightning", "epoch=3-step=100.ckpt", { "epoch=3-step=100.ckpt": torchFile() }],
  ["Hugging Face", "checkpoint-100", huggingFace(100)],
  ["DeepSpeed", "global_step100", deepSpeed(100)],
  ["FSDP", "step_100", distributed(100)],
  [
    "Hugging Face with DeepSpeed",
    "checkpoint-100",
    {
      ...Object.fromEntries(
        Object.entries(deepSpeed(100)).map(([name, content]) => [`checkpoint-100/${name}`, content]),
      ),
      "checkpoint-100/trainer_state.json": "{}",
      "checkpoint-100/training_args.bin": torchFile(),
    },
  ],
  [
    "Megatron",
    "iter_0000100",
    { "iter_0000100/mp_rank_00/model.pt": torchFile(), "latest_checkpointed_iteration.txt": "100" },
  ],
];

describe.each(LAYOUTS)("%s", (_writer, name, files) => {
  test("is complete when everything is there, however young", async () => {
    place(folder, files, Date.now());
    expect(await states()).toEqual({ [name]: "complete" });
  });

  test("is being written while any of its files of weights ends too early", async () => {
    place(folder, files);
    const weights = Object.keys(files).filter((path) => /\.(pt|ckpt|safetensors)$/.test(path));
    for (const path of weights) {
      place(folder, files);
      truncateSync(join(folder, path), (files[path] as Buffer).length - 1);
      expect(await states(), path).toEqual({ [name]: "writing" });
    }
  });
});

const NEEDED: [string, Files, string][] = [
  ["checkpoint-100", huggingFace(100), "model-00002-of-00002.safetensors"],
  ["checkpoint-100", huggingFace(100), "trainer_state.json"],
  ["global_step100", deepSpeed(100), "zero_pp_rank_0_mp_rank_00_optim_states.pt"],
  ["global_step100", deepSpeed(100), "mp_rank_00_model_states.pt"],
  ["step_100", distributed(100), ".metadata"],
  ["step_100", distributed(100), "__1_0.distcp"],
];

test.each(NEEDED)("%s is not complete without one of its files", async (name, files, missing) => {
  place(folder, files);
  rmSync(join(folder, name, missing));
  expect(await states()).toEqual({ [name]: "writing" });
  const [step] = await checkpoints.list(folder);
  expect(step!.why).toBeTruthy();
  expect(await states({ abandonedMs: 60_000 })).toEqual({ [name]: "abandoned" });
});

test("DeepSpeed's latest says which steps are complete", async () => {
  place(folder, { ...deepSpeed(200), ...deepSpeed(100) });
  expect(await states()).toEqual({ global_step100: "complete", global_step200: "writing" });
});

test("what nothing marks as complete is so once it has settled", async () => {
  place(folder, { "step_5/weights.bin": "legacy", "step_4.bin": "legacy" }, Date.now());
  expect(await states()).toEqual({ step_5: "writing", "step_4.bin": "writing" });
  place(folder, { "step_5/weights.bin": "legacy", "step_4.bin": "legacy" }, OLD_MS);
  expect(await states()).toEqual({ step_5: "complete", "step_4.bin": "complete" });
});

test("what a process has open for writing is being written, however old", async () => {
  place(folder, { "step_1.pt": torchFile(), "step_2.pt": torchFile() });
  const fd = openSync(join(folder, "step_2.pt"), "r+");
  try {
    expect(await states({ abandonedMs: 1 })).toEqual({ "step_1.pt": "complete", "step_2.pt": "writing" });
  } finally {
    closeSync(fd);
  }
  expect(await states()).toMatchObject({ "step_2.pt": "complete" });
});

test("temporary and empty files are signs of work under way", async () => {
  place(folder, { ...huggingFace(100), "checkpoint-100/optimizer.pt.tmp": "x", "step_7.pt": "" });
  expect(await states()).toEqual({ "checkpoint-100": "writing", "step_7.pt": "writing" });
});

test("a folder whose own name has a number is a run when there are numbered ones in it", async () => {
  place(join(folder, "ckpt3"), { "step_1.pt": torchFile(), "step_2.pt": torchFile() });
  expect(await checkpoints.latest(join(folder, "ckpt3"))).toBe(join(folder, "ckpt3/step_2.pt"));
});

test("what lies beside a checkpoint that was named is not looked at", async () => {
  place(folder, { ...distributed(10), ...distributed(100) });
  symlinkSync("/proc/self/fd", join(folder, "elsewhere"));
  expect(Object.keys(await statesOf(join(folder, "step_10")))).toEqual(["step_10"]);
});

test("epoch_10 comes after epoch_9, and best, last and unnumbered ones are none", async () => {
  const names = ["epoch_9.pt", "epoch_10.pt", "best.pt", "best-epoch=3.ckpt", "last.ckpt", "model.pt"];
  place(folder, Object.fromEntries(names.map((name) => [name, torchFile()])));
  symlinkSync("epoch_9.pt", join(folder, "latest"));
  expect(Object.keys(await states())).toEqual(["epoch_10.pt", "epoch_9.pt"]);
});

describe("the structure of files", () => {
  const check = (name: string, bytes: Buffer) =>
    structureOf(name, bytes.length, (offset, length) =>
      Promise.resolve(bytes.subarray(offset, offset + length)),
    );

  test("every cut of an archive and of safetensors is torn", async () => {
    for (const [name, whole] of [
      ["a.pt", torchFile("content")],
      ["a.safetensors", safetensorsFile(100)],
    ] as const) {
      expect(await check(name, whole)).toBe("whole");
      for (let cut = 4; cut < whole.length; cut++) {
        expect(await check(name, whole.subarray(0, cut)), `${name} cut at ${cut}`).toBe("torn");
      }
    }
  });

  test("an archive as torch.save and zipfile write it with 64-bit sizes, and one with a comment", async () => {
    const plain = torchFile("content");
    const end = plain.subarray(-22);
    const record = Buffer.alloc(56);
    record.writeUInt32LE(0x06064b50, 0);
    record.writeBigUInt64LE(BigInt(end.readUInt32LE(12)), 40);
    record.writeBigUInt64LE(BigInt(end.readUInt32LE(16)), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(BigInt(plain.length - 22), 8);
    const large = Buffer.concat([plain.subarray(0, -22), record, locator, end]);
    expect(await check("a.pt", large)).toBe("whole");
    expect(await check("a.pt", large.subarray(0, -1))).toBe("torn");
    const commented = Buffer.concat([plain, Buffer.from("hi")]);
    commented.writeUInt16LE(2, plain.length - 2);
    expect(await check("a.pt", commented)).toBe("whole");
  });

  test("other formats tell nothing", async () => {
    expect(await check("a.bin", Buffer.from("some pickle"))).toBe("unknown");
    expect(await check("a.bin", Buffer.alloc(0))).toBe("torn");
    expect(await check("a.safetensors", Buffer.from("not at all"))).toBe("torn");
  });
});

test("a place that is not there, or has none, says so", async () => {
  writeFileSync(join(folder, "notes.txt"), "x");
  await expect(checkpoints.list(folder)).rejects.toMatchObject({ code: "not_found" });
  await expect(checkpoints.list(folder, { pattern: "snap-*" })).rejects.toMatchObject({
    message: expect.stringContaining("matches 'snap-*'"),
  });
  await expect(checkpoints.list(join(folder, "nowhere"))).rejects.toMatchObject({ code: "not_found" });
  await expect(checkpoints.list("-")).rejects.toMatchObject({ code: "invalid_argument" });
});
