/**
 * The published package where no addon can be built: on Linux without a compiler, and on macOS, as far as a program can
 * be made to believe that it is there. npm's install ends well, the launcher and the copies work, a mount says why not.
 */
import { randomBytes } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TEST_BUCKET, startTestS3, testEnvironment } from "../support/dev-s3.ts";
import type { TestS3 } from "../support/dev-s3.ts";
import { pretendMacOs, unpackPackage } from "../support/packed-package.ts";
import { run } from "../support/run.ts";
import { runProgram } from "./harness.ts";
import type { Run } from "./harness.ts";

let folder: string;
let installed: string;
let macOs: string;
let server: TestS3;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hawser-laptop-"));
  installed = await unpackPackage(folder);
  macOs = pretendMacOs(folder);
  server = await startTestS3();
});
afterAll(async () => {
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A PATH on which there is no compiler, no make and no Python. */
async function pathWithoutCompiler(): Promise<string> {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  for (const program of ["node", "npm", "sh"]) {
    const { stdout } = await run("sh", ["-c", `command -v ${program}`]);
    rmSync(join(bin, program), { force: true });
    symlinkSync(realpathSync(stdout.trim()), join(bin, program));
  }
  return bin;
}

describe.each(["Linux without a compiler", "macOS"])("%s", (system) => {
  const preload = (): string[] => (system === "macOS" ? ["--require", macOs] : []);
  const hawser = (...args: string[]): Promise<Run> =>
    runProgram(process.execPath, [...preload(), join(installed, "bin", "hawser.js"), ...args], {
      env: {
        ...testEnvironment(server.s3),
        HAWSER_POOL_DIR: join(folder, "pools"),
        XDG_CONFIG_HOME: folder,
        NO_COLOR: "1",
      },
    });

  test("npm's install step ends well, and says what does not work here", async () => {
    const ran = await runProgram("sh", ["-c", `cd "$1" && npm run --silent install`, "sh", installed], {
      env: { PATH: await pathWithoutCompiler(), NODE_OPTIONS: preload().join(" ") },
    });
    expect(ran).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        system === "macOS" ? /mounting needs Linux/ : /the native addon was not built: g\+\+/,
      ),
    });
  });

  test("s3 cp, ls and sync copy and list, with every byte", async () => {
    const here = join(folder, "here");
    mkdirSync(join(here, "many"), { recursive: true });
    // More than one part of an upload and one range of a download.
    writeFileSync(join(here, "large"), randomBytes(20 * 1024 * 1024));
    for (let i = 0; i < 20; i++) writeFileSync(join(here, "many", `${i}`), `small ${i}`);
    const url = `s3://${TEST_BUCKET}/${system === "macOS" ? "mac" : "linux"}`;

    expect(await hawser("s3", "cp", join(here, "large"), `${url}/large`)).toMatchObject({ code: 0 });
    expect(await hawser("s3", "sync", `${join(here, "many")}/`, `${url}/many/`)).toMatchObject({ code: 0 });
    expect((await hawser("s3", "ls", `${url}/`)).stdout).toMatch(/large[^]*many\/|many\/[^]*large/);
    const back = join(folder, "back");
    expect(await hawser("s3", "cp", `${url}/large`, back)).toMatchObject({ code: 0 });
    expect(readFileSync(back).equals(readFileSync(join(here, "large")))).toBe(true);
    expect(await hawser("s3", "cp", `${url}/many/7`, back)).toMatchObject({ code: 0 });
    expect(readFileSync(back, "utf8")).toBe("small 7");
  });

  test("pool plan lists the volumes and checks; pool ls answers", async () => {
    const file = join(folder, "hawser.yaml");
    writeFileSync(
      file,
      `volumes: [{ bucket: ${TEST_BUCKET}, mount: /data, endpoint: "${server.s3.url}" }]
pool: { name: train, hosts: [worker@192.0.2.1] }
job: "true"
`,
    );
    const plan = await hawser("pool", "plan", "--config", file);
    expect(plan).toMatchObject({ code: 0, stdout: expect.stringMatching(/train: 1 node/) });
    expect(plan.stdout).toMatch(/ok: volume data: can be read/);
    expect(await hawser("pool", "ls")).toMatchObject({ code: 0, stdout: "There are no pools.\n" });
  });

  test("a mount is refused, with the reason and what to do", async () => {
    const point = join(folder, "point");
    mkdirSync(point, { recursive: true });
    const { code, stderr } = await hawser("mount", `s3://${TEST_BUCKET}`, point);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/The native addon is not built for (?:darwin|linux)-/);
    expect(stderr).toMatch(/npm rebuild hawser/);
    expect(stderr).not.toMatch(/\n {4}at /);
  });
});
