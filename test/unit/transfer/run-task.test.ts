/** `hawser run` and `hawser local` as programs: exit codes, signals, and outputs that get home whatever happens. */
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { shebangWords } from "../../../src/cli/interpreter.ts";
import { parseInput, parseOutput } from "../../../src/cli/transfer-texts.ts";
import { MiB, Place } from "./place.ts";
import { PROGRAM, Programs } from "./programs.ts";
import type { Ended, Started } from "./programs.ts";

let place: Place;
const programs = new Programs();
beforeEach(async () => {
  place = await Place.open("lean");
});
afterEach(async () => {
  programs.close();
  await place[Symbol.asyncDispose]();
});

/** In the place's folder, so that relative paths are of it. */
const start = (...argv: string[]): Started => programs.start(place, argv, { cwd: place.folder });

const hawser = (...argv: string[]): Promise<Ended> => start(...argv).ended;
const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

test("inputs come, the program runs between them, outputs go, and each is told with its rate", async () => {
  await place.put("train/a", "a");
  await place.put("train/sub/b", "b");
  await place.put("model.bin", "weights");
  const { code, out, err } = await hawser(
    "run",
    "--in",
    "s3://data/train:./in",
    "--in",
    "s3://data/model.bin:./models/",
    "--out",
    "./out:s3://data/run",
    "--out",
    "result.txt:s3://data/results/",
    ...sh(
      "cat in/a in/sub/b models/model.bin; mkdir -p out/logs; cp in/a out/x; echo 1 > out/t.log; echo 2 > out/logs/l; echo r > result.txt",
    ),
  );
  expect(err).toMatch(/input s3:\/\/data\/train to \.\/in: 2 files, 2 B in .*MB\/s/);
  expect({ code, out }).toEqual({ code: 0, out: "abweights" });
  expect(await place.keys("run/")).toEqual(["run/x"]);
  expect((await place.get("results/result.txt")).toString()).toBe("r\n");
});

test("logs go as well when asked for, and what is excluded stays", async () => {
  const made = sh("mkdir -p out/logs; echo 1 > out/t.log; echo 2 > out/logs/l; echo 3 > out/a.tmp");
  const { code } = await hawser(
    "run",
    "--out",
    "out:s3://data/run",
    "--include-logs",
    "--exclude",
    "*.tmp",
    ...made,
  );
  expect(code).toBe(0);
  expect(await place.keys("run/")).toEqual(["run/logs/l", "run/t.log"]);
});

test.each([
  ["exit 7", 7],
  ["kill -TERM $$", 143],
  ["kill -KILL $$", 137],
])("a program that ends by '%s' has its outputs pushed, and its exit code is ours: %i", async (end, code) => {
  expect(
    await hawser("run", "--out", "out:s3://data/run", ...sh(`mkdir out; echo x > out/x; ${end}`)),
  ).toMatchObject({ code });
  expect(await place.keys("run/")).toEqual(["run/x"]);
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s is the program's, and its outputs are pushed behind it",
  async (signal) => {
    const script = `trap 'echo caught > out/caught; exit 9' INT TERM; mkdir out; echo ready; while :; do /bin/sleep 0.05; done`;
    const { child, ended, says } = start("run", "--out", "out:s3://data/run", ...sh(script));
    await says("ready");
    child.kill(signal);
    expect((await ended).code).toBe(9);
    expect((await place.get("run/caught")).toString()).toBe("caught\n");
  },
);

test("an output that cannot be pushed is kept and named, with what brings it home", async () => {
  const fault = place.s3.faults.add({ operation: "PutObject", key: "run/b", error: "AccessDenied" });
  const made = ["--out", "out:s3://data/run", ...sh("mkdir out; echo a > out/a; echo b > out/b")];
  const { code, err } = await hawser("run", ...made);
  expect(code).toBe(5);
  expect(err).toContain("out is kept; push it with: hawser s3 sync 'out' 's3://data/run'");
  expect(place.read("out/b").toString()).toBe("b\n");
  expect(await place.keys("run/")).toEqual(["run/a"]);
  fault.remove();
  expect(await hawser("s3", "sync", "out", "s3://data/run")).toMatchObject({ code: 0 });
  expect(await place.keys("run/")).toEqual(["run/a", "run/b"]);
});

test("the program's own failure wins over that of an output", async () => {
  place.s3.faults.add({ operation: "PutObject", error: "AccessDenied" });
  const { code, err } = await hawser(
    "run",
    "--out",
    "out:s3://data/run",
    ...sh("mkdir out; echo a > out/a; exit 3"),
  );
  expect(code).toBe(3);
  expect(err).toContain("is kept");
});

test("Ctrl-C while outputs go ends that, and they are kept and named", async () => {
  place.file("big", randomBytes(12 * MiB));
  const fault = place.s3.faults.add({ operation: "UploadPart", hold: true });
  const { child, ended } = start("run", "--part-size", "5MiB", "--out", "big:s3://data/big", ...sh("exit 0"));
  await fault.hit();
  child.kill("SIGINT");
  const { code, err } = await ended;
  expect(code).toBe(130);
  expect(err).toContain("big is kept");
  expect(existsSync(place.path("big"))).toBe(true);
});

test("a program whose inputs are not all there is not started", async () => {
  const { code, err } = await hawser("run", "--in", "s3://data/none:./in", ...sh("echo > started"));
  expect(code).toBe(1);
  expect(err).toContain("There is nothing at s3://data/none");
  expect(err).toContain("was not started");
  expect(existsSync(place.path("started"))).toBe(false);
});

test("Ctrl-C while inputs come ends that, and nothing is started", async () => {
  await place.put("in", randomBytes(100_000));
  const fault = place.s3.faults.add({ operation: "GetObject", hold: true });
  const { child, ended } = start("run", "--in", "s3://data/in:./in", ...sh("echo > started"));
  await fault.hit();
  child.kill("SIGINT");
  expect((await ended).code).toBe(130);
  expect(existsSync(place.path("started"))).toBe(false);
});

test("an output that was not made is said and fails nothing", async () => {
  const { code, err } = await hawser("run", "--out", "out:s3://data/run", ...sh("exit 0"));
  expect(code).toBe(0);
  expect(err).toContain("there is nothing at out");
});

test("a program that is not there says so", async () => {
  const { code, err } = await hawser("run", "--", "no-such-program");
  expect(code).toBe(1);
  expect(err).toContain("there is no such program");
});

test("local runs a script by its first line, by its ending, or as it is", async () => {
  place.file("by-ending.py", "import sys; print('python', *sys.argv[1:])");
  place.file("by-line.txt", "#!/bin/sh\necho shell $1");
  place.file("plain.sh", "echo ${BASH_VERSION:+bash}");
  place.file("module.mjs", "console.log('node', process.argv[2])");
  expect(await hawser("local", "by-ending.py", "--", "--flag", "b c")).toMatchObject({
    code: 0,
    out: "python --flag b c\n",
  });
  expect((await hawser("local", "by-line.txt", "--", "x")).out).toBe("shell x\n");
  expect((await hawser("local", "plain.sh")).out).toBe("bash\n");
  expect((await hawser("local", "module.mjs", "--", "y")).out).toBe("node y\n");
  chmodSync(place.file("program", "#!/bin/sh\nexit 4\n"), 0o755);
  expect((await hawser("local", "program")).code).toBe(4);
  const unknown = await hawser("local", place.file("data.csv", "1,2"));
  expect(unknown.code).toBe(2);
  expect(unknown.err).toContain("Nothing says what runs");
  expect((await hawser("local", "nowhere.py")).code).toBe(1);
});

test("local pushes outputs of a script that fails", async () => {
  place.file("fail.py", "import os, sys\nos.mkdir('out'); open('out/x', 'w').write('x'); sys.exit(6)");
  expect((await hawser("local", "fail.py", "--out", "out:s3://data/run")).code).toBe(6);
  expect(await place.keys("run/")).toEqual(["run/x"]);
});

test("--json tells each transfer as a line, beside the program's own output", async () => {
  const { out, err } = await hawser(
    "run",
    "--json",
    "--out",
    "out:s3://data/run",
    ...sh("mkdir out; echo x > out/x; echo hello"),
  );
  expect(out).toBe("hello\n");
  const lines = err
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([{ type: "transfer", direction: "output", files: 1, bytes: 2 }]);
});

test.each([
  [["run"], "behind --"],
  [["run", "--in", "./a:s3://data/x", "--", "true"], "--in"],
  [["run", "--out", "s3://data/x", "--", "true"], "--out"],
  [["run", "--out", "a:s3://data/x", "--out", "b:s3://data/x/", "--", "true"], "Two outputs"],
  [["local"], "which script"],
])("%j is refused with exit code 2", async (argv, words) => {
  const { code, err } = await hawser(...argv);
  expect(err).toContain(words);
  expect(code).toBe(2);
});

test("where a file goes is behind the last colon of an input, and before s3:// of an output", () => {
  expect(parseInput("s3://b/a:b/c:./d")).toEqual({ from: "s3://b/a:b/c", to: "./d" });
  expect(parseInput("s3://b:./d")).toEqual({ from: "s3://b", to: "./d" });
  expect(parseOutput("./a:b:s3://c/d")).toEqual({ from: "./a:b", to: "s3://c/d" });
});

test("a first line is parted as the kernel does it", () => {
  expect(shebangWords("#! /usr/bin/env  -S python3 -u ")).toEqual(["/usr/bin/env", "-S python3 -u"]);
  expect(shebangWords("#!/bin/sh")).toEqual(["/bin/sh"]);
  expect(shebangWords("#!")).toEqual([]);
  expect(readFileSync(PROGRAM, "utf8").startsWith("#!")).toBe(true);
});
