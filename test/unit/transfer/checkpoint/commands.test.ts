/** `hawser checkpoint` on local folders and buckets alike, against the embedded S3. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { group } from "../../../../src/cli/commands/checkpoint/index.ts";
import { S3Program } from "../../../support/s3-program.ts";
import type { Ran } from "../../../support/s3-program.ts";
import { deepSpeed, distributed, huggingFace, place, torchFile } from "./layouts.ts";
import type { Files } from "./layouts.ts";

let program: S3Program;
let folder: string;
beforeEach(async () => {
  program = await S3Program.start();
  folder = mkdtempSync(join(tmpdir(), "hawser-commands-"));
  vi.stubEnv("HAWSER_STATE_DIR", join(folder, ".state"));
});
afterEach(async () => {
  await program.close();
  rmSync(folder, { recursive: true, force: true });
});

const hawser = (...argv: string[]): Promise<Ran> => program.run(["checkpoint", ...argv]);

/** The same files in a folder, or in the bucket. */
const PLACES = {
  folder: async (files: Files) => {
    place(join(folder, "run"), files);
    return Promise.resolve(join(folder, "run"));
  },
  bucket: async (files: Files) => {
    for (const [name, content] of Object.entries(files)) {
      await program.put(`run/${name}`, "", { Body: content });
    }
    return program.uri("run");
  },
};

async function namesAt(kind: keyof typeof PLACES): Promise<string[]> {
  const names =
    kind === "folder"
      ? readdirSync(join(folder, "run"))
      : (await program.keys()).map((key) => key.slice("run/".length).split("/")[0]!);
  return [...new Set(names)].sort();
}

describe.each(Object.keys(PLACES) as (keyof typeof PLACES)[])("a %s", (kind) => {
  const make = (files: Files) => PLACES[kind](files);

  test("ls shows runs, the newest first, and what is missing", async () => {
    const { "checkpoint-20/trainer_state.json": _missing, ...torn } = huggingFace(20);
    const at = await make({ ...huggingFace(10), ...torn });
    const { code, out, json } = await hawser("ls", at, "--json");
    expect(code).toBe(0);
    expect(json.map(({ name, state, files }) => [name, state, files])).toEqual([
      ["checkpoint-20", "writing", 6],
      ["checkpoint-10", "complete", 7],
    ]);
    expect(out).toContain("trainer_state.json is not there");
    expect((await hawser("ls", at)).out).toMatch(/writing\s+checkpoint-20 .*trainer_state/);
  });

  test("latest prints the newest complete one and nothing else, for any layout", async () => {
    const { "step_300/.metadata": _missing, ...torn } = distributed(300);
    const at = await make({ ...distributed(100), ...distributed(200), ...torn });
    expect(await hawser("latest", at)).toMatchObject({ code: 0, out: `${at}/step_200`, err: "" });
    expect((await hawser("latest", `${at}/step_100`)).out).toBe(`${at}/step_100`);
    const none = await hawser("latest", `${at}/step_300`);
    expect(none.code).toBe(1);
    expect(none.err).toContain(".metadata is not there");
  });

  test("cleanup keeps the newest, the wanted steps and the best, and says why", async () => {
    const files = Object.assign(
      {},
      ...[10, 20, 30, 40, 50].map((step) => huggingFace(step, { eval_loss: step === 20 ? 0.1 : 1 })),
    ) as Files;
    const at = await make({ ...files, "best.pt": torchFile(), "notes.txt": "x" });
    const rules = ["--keep-last-n", "1", "--keep-every", "30", "--best", "eval_loss"];
    const dry = await hawser("cleanup", at, ...rules, "--dry-run");
    expect(dry.out).toMatch(/keep {4}checkpoint-20 .*the best/);
    expect(dry.out).toContain("Would remove: 2 checkpoints");
    expect(await namesAt(kind)).toHaveLength(7);
    expect(await hawser("cleanup", at, ...rules)).toMatchObject({ code: 0 });
    expect(await namesAt(kind)).toEqual([
      "best.pt",
      "checkpoint-20",
      "checkpoint-30",
      "checkpoint-50",
      "notes.txt",
    ]);
    expect(await hawser("cleanup", at, "--keep-last", "1")).toMatchObject({ code: 0 });
    expect(await namesAt(kind)).toEqual(["best.pt", "checkpoint-50", "notes.txt"]);
  });

  test("cleanup never removes the newest complete one, nor what is being written", async () => {
    const { "step_300/.metadata": _missing, ...torn } = distributed(300);
    const at = await make({ ...distributed(100), ...distributed(200), ...torn });
    await hawser("cleanup", at, "--keep-last-n", "1", "--yes");
    expect(await namesAt(kind)).toEqual(["step_200", "step_300"]);
  });

  test("files of one step go together", async () => {
    const at = await make({
      "step_1.pt": torchFile("weights"),
      "step_1.json": `{"loss": 3, "note": "${"x".repeat(300)}"}`,
      "step_2.pt": torchFile("weights"),
      "step_2.json": '{"loss": 1}',
      "step_3.pt": torchFile("weights"),
      "step_3.json": '{"loss": 2}',
    });
    expect((await hawser("latest", at, "--best", "loss")).out).toBe(`${at}/step_2.pt`);
    expect((await hawser("latest", at, "--best", "loss:max")).out).toBe(`${at}/step_1.pt`);
    expect((await hawser("latest", at, "--step", "2")).out).toBe(`${at}/step_2.pt`);
    await hawser("cleanup", at, "--keep-last-n", "1", "--best", "loss");
    expect(await namesAt(kind)).toEqual(["step_2.json", "step_2.pt", "step_3.json", "step_3.pt"]);
  });

  test("verify looks into every file, and names what is wrong", async () => {
    const files = huggingFace(10);
    const at = await make({ ...files, ...huggingFace(20) });
    expect(await hawser("verify", at)).toMatchObject({ code: 0 });
    const weights = files["checkpoint-10/model-00001-of-00002.safetensors"] as Buffer;
    await make({ "checkpoint-10/model-00001-of-00002.safetensors": weights.subarray(0, -1) });
    const { code, out } = await hawser("verify", at);
    expect(code).toBe(1);
    expect(out).toContain(
      `NOT    ${at}/checkpoint-10: checkpoint-10/model-00001-of-00002.safetensors ends too early`,
    );
    expect(await hawser("verify", at, "--step", "20")).toMatchObject({ code: 0 });
    expect(await hawser("verify", at, "--step", "30")).toMatchObject({ code: 1 });
  });

  test("a pattern says what counts, and one that matches nothing is said", async () => {
    const at = await make({ "snap-9.zip": torchFile(), "snap-10.zip": torchFile() });
    const none = await hawser("cleanup", at, "--keep-last-n", "1");
    expect(none.code).toBe(1);
    expect(none.err).toContain("--pattern");
    const other = await hawser("cleanup", at, "--keep-last-n", "1", "--pattern", "shot-*");
    expect(other.err).toContain("matches 'shot-*'");
    expect(await hawser("cleanup", at, "--keep-last-n", "1", "--pattern", "snap-*")).toMatchObject({
      code: 0,
    });
    expect(await namesAt(kind)).toEqual(["snap-10.zip"]);
  });

  test("a removal that was begun is ended by the next cleanup, and is no checkpoint until then", async () => {
    const at = await make({
      ...distributed(100),
      ...distributed(200),
      "step_200/.hawser-pruning": "",
      "step_50/.hawser-pruning": "",
      "step_50/__0_0.distcp": torchFile(),
    });
    expect((await hawser("latest", at)).out).toBe(`${at}/step_100`);
    await hawser("cleanup", at, "--keep-last-n", "5");
    expect(await namesAt(kind)).toEqual(["step_100"]);
  });

  test("pull brings a checkpoint whole, once, and prints where it is", async () => {
    const at = await make({ ...deepSpeed(100), ...deepSpeed(200) });
    const to = join(folder, "here");
    expect((await hawser("pull", at, to)).out).toBe(join(to, "global_step200"));
    expect(readdirSync(to).sort()).toEqual(["global_step200", "latest"]);
    expect(readFileSync(join(to, "latest"), "utf8")).toBe("global_step200");
    expect(await hawser("verify", join(to, "global_step200"), "--against", at)).toMatchObject({ code: 0 });
    const again = await hawser("pull", at, to);
    expect(again).toMatchObject({ code: 0, out: join(to, "global_step200") });
    writeFileSync(join(to, "global_step200/mp_rank_00_model_states.pt"), torchFile("other"));
    const refused = await hawser("pull", at, to);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("another one");
    expect((await hawser("pull", `${at}/global_step100`, to)).out).toBe(join(to, "global_step100"));
  });

  test("pull of files brings those of one step", async () => {
    const at = await make({ "step_1.pt": torchFile("a"), "step_1.json": "{}", "step_2.pt": torchFile("b") });
    const to = join(folder, "here");
    expect((await hawser("pull", at, to, "--step", "1")).out).toBe(join(to, "step_1.pt"));
    expect(readdirSync(to).sort()).toEqual(["step_1.json", "step_1.pt"]);
    expect((await hawser("pull", at, to, "--step", "1")).code).toBe(0);
  });
});

test("of several runs, latest is that of the run which changed last", async () => {
  place(join(folder, "runs/b"), distributed(900), Date.now() - 500_000);
  place(join(folder, "runs/a"), distributed(100), Date.now() - 400_000);
  expect((await hawser("latest", join(folder, "runs"))).out).toBe(join(folder, "runs/a/step_100"));
});

test("a link is unlinked and what it leads to stays", async () => {
  place(join(folder, "elsewhere"), { "model.pt": torchFile() });
  place(join(folder, "run"), distributed(100));
  const { symlinkSync } = await import("node:fs");
  symlinkSync("../elsewhere", join(folder, "run/step_50"));
  symlinkSync("../../elsewhere", join(folder, "run/step_100/extra"));
  place(join(folder, "run"), distributed(200));
  await hawser("cleanup", join(folder, "run"), "--keep-last-n", "1");
  expect(readdirSync(join(folder, "run"))).toEqual(["step_200"]);
  expect(existsSync(join(folder, "elsewhere/model.pt"))).toBe(true);
});

test.each([
  [["cleanup", "."], "Say what stays"],
  [["cleanup", ".", "--keep-last-n", "0"], "--keep-last-n"],
  [["cleanup", "a/step_5", "--keep-last-n", "1"], "is one checkpoint"],
  [["latest", ".", "--step", "1", "--best", "x"], "contradict"],
  [["push", "."], "FOLDER s3://"],
  [["push", ".", "s3://b/p", "--keep-last-n", "1"], "--then-prune"],
  [["push", "s3://b/p", "."], "push goes from a local folder"],
  [["pull", "s3://b/p"], "where to"],
  [["ls"], "Say where"],
])("checkpoint %j is refused with exit code 2", async (argv, words) => {
  const ran = await hawser(...argv);
  expect(ran.err).toContain(words);
  expect(ran.code).toBe(2);
});

test.each(group.commands.map(({ name }) => [name]))("checkpoint %s has help", async (name) => {
  const { code, out } = await hawser(name, "--help");
  expect(code).toBe(0);
  expect(out).toContain(`Usage: hawser checkpoint ${name}`);
  expect(out).toContain("Examples:");
});
