import { execFileSync, spawnSync } from "node:child_process";
import { beforeAll, describe, expect, test } from "vitest";
import { command } from "../../../src/cli/commands/completion.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

const scripts: Record<string, string> = {};

beforeAll(async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const terminal = { out: (line: string) => (scripts[shell] = line) } as unknown as Terminal;
    const args = {
      positionals: [shell],
      rest: [],
      text: () => undefined,
      flag: () => false,
      list: () => [],
      ordered: () => [],
    };
    await command.run(args, terminal);
  }
});

/** What bash offers at the end of a command line. */
function offered(...words: string[]): string[] {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const script = `${scripts["bash"]}\nCOMP_WORDS=(${quoted}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _hawser; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim().split("\n");
}

describe("bash", () => {
  test("completes commands", () => {
    expect(offered("hawser", "m")).toEqual(["mount"]);
    expect(offered("hawser", "")).toEqual(expect.arrayContaining(["mount", "unmount", "umount", "status"]));
  });
  test("completes a command's own options", () => {
    expect(offered("hawser", "mount", "--cache-")).toEqual([
      "--cache-dir",
      "--cache-size",
      "--cache-keep-free",
    ]);
    expect(offered("hawser", "unmount", "--l")).toEqual(["--lazy"]);
  });
  test("completes the values of an option", () => {
    expect(offered("hawser", "mount", "--channel", "n")).toEqual(["native"]);
  });
});

test.each([
  ["zsh", ["-n"]],
  ["fish", ["--no-execute"]],
])("%s accepts its script, where there is that shell", (shell, flags) => {
  expect(scripts[shell]).toContain("hawser");
  const { error, status, stderr } = spawnSync(shell, [...flags, "/dev/stdin"], {
    input: scripts[shell]!,
    encoding: "utf8",
  });
  if (error) expect((error as NodeJS.ErrnoException).code).toBe("ENOENT");
  else expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});
