/** The library's example for bulk work: its types fit what the package exports, and it runs as it stands. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startTestS3, testEnvironment } from "../../support/dev-s3.ts";
import type { TestS3 } from "../../support/dev-s3.ts";
import { runProgram } from "../../e2e/harness.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const EXAMPLE = join(ROOT, "examples/library/bulk.js");

let server: TestS3;
let folder: string;
beforeEach(async () => {
  server = await startTestS3();
  folder = mkdtempSync(join(tmpdir(), "hawser-library-"));
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

test("the example's types fit", async () => {
  const { code, stdout } = await runProgram(process.execPath, [
    join(ROOT, "node_modules/typescript/bin/tsc"),
    ..."--noEmit --strict --allowJs --checkJs --skipLibCheck --ignoreConfig --target es2023 --lib es2023,esnext.disposable --module nodenext --types node".split(
      " ",
    ),
    EXAMPLE,
  ]);
  expect(stdout).toBe("");
  expect(code).toBe(0);
});

test("the example runs, and says what it did", async () => {
  const env = { ...testEnvironment(server.s3), HAWSER_STATE_DIR: join(folder, "state") };
  const { code, stdout, stderr } = await runProgram(process.execPath, [EXAMPLE, server.bucket, folder], {
    env,
  });
  expect(stdout.trim().split("\n"), stderr).toEqual([
    "uploaded 2, sent again 0, downloaded 2",
    "example/data/a.txt example/data/b.txt",
    "a.txt has 17 bytes and begins with 'content'",
    "2 objects, less than a cent a month",
    "the program ended with 0; 3 files were pushed",
    "pushed 2 checkpoints",
    `go on from s3://${server.bucket}/example/run/step_300.bin`,
    "removed step_200.bin",
    `it is at ${folder}/resume/step_300.bin`,
    "removed 6 objects",
  ]);
  expect(code).toBe(0);
  expect(readFileSync(join(folder, "resume/step_300.bin"), "utf8")).toBe("weights 300");
});
