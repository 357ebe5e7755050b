import { afterEach, beforeEach, expect, test } from "vitest";
import { group } from "../../../../src/cli/commands/s3/index.ts";
import { S3 } from "../../../../src/index.ts";
import { S3Program } from "../../../support/s3-program.ts";

let program: S3Program;
beforeEach(async () => void (program = await S3Program.start()));
afterEach(() => program.close());

test("a program lists and removes as the commands do, with events", async () => {
  await program.putAll("a", "d/1", "d/2");
  await using s3 = new S3();
  const keys: string[] = [];
  const folders: string[] = [];
  for await (const page of s3.list(program.uri())) {
    keys.push(...page.objects.map(({ key }) => key));
    folders.push(...page.folders);
  }
  expect([keys, folders]).toEqual([["a"], ["d/"]]);
  const done: string[] = [];
  const summary = await s3.remove(program.uri("d"), {
    recursive: true,
    onEvent: (event) => void (event.type === "done" && done.push(event.source)),
  });
  expect(summary).toMatchObject({ deleted: 2, failed: 0 });
  expect(done).toEqual([program.uri("d/1"), program.uri("d/2")]);
  const aborted = await s3.remove(program.uri(), { recursive: true, signal: AbortSignal.abort() });
  expect(aborted).toMatchObject({ deleted: 0, interrupted: true });
  expect(await program.keys()).toEqual(["a"]);
});

test.each(group.commands.map(({ name }) => [name]))(
  "s3 %s has help with usage and examples",
  async (name) => {
    const { code, out } = await program.s3(name, "--help");
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^Usage: hawser s3 ${name}`));
    expect(out).toContain(`hawser s3 ${name} `);
    expect(out).toContain("Examples:");
  },
);

test("completion knows every command of s3 and its options", async () => {
  const { out } = await program.run(["completion", "bash"]);
  for (const { name } of group.commands) expect(out).toContain(`"s3 ${name}"`);
  expect(out).toContain("--keep-last-n");
});
