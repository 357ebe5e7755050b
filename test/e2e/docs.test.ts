/**
 * Documentation that runs: every command block of README.md and docs/ marked `sh runnable` is executed as it stands, in an
 * empty folder, by a shell that stops at the first failure.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { runProgram } from "./harness.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

interface Block {
  file: string;
  line: number;
  script: string;
}

function runnableBlocks(): Block[] {
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" });
  const files = [
    "README.md",
    ...docs.filter((name) => name.endsWith(".md")).map((name) => join("docs", name)),
  ];
  return files.flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    return [...text.matchAll(/^```sh runnable\n([\s\S]*?)^```$/gm)].map((match) => ({
      file,
      line: text.slice(0, match.index).split("\n").length,
      script: match[1]!,
    }));
  });
}

describe("documentation", () => {
  const blocks = runnableBlocks();

  test("has blocks that run", () => {
    expect(blocks.map((block) => block.file)).toContain("README.md");
  });

  test.each(blocks)("$file line $line runs as it stands", async ({ script }) => {
    const folder = mkdtempSync(join(tmpdir(), "hawser-docs-"));
    try {
      symlinkSync(join(root, "bin/hawser.js"), join(folder, "hawser"));
      const run = await runProgram(
        "bash",
        [
          "-euo",
          "pipefail",
          "-c",
          `cd "$0"\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n${script}`,
          folder,
        ],
        { env: { PATH: `${folder}:${process.env["PATH"]}`, AWS_REGION: "us-east-1" }, timeoutMs: 280_000 },
      );
      expect(run.code, `${run.stdout}\n${run.stderr}`).toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
