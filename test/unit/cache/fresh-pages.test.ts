import { expect, test } from "vitest";
import { FreshPages } from "../../../src/cache/fresh-pages.ts";

const MiB = 1024 * 1024;

/** Remembers what is asked for, and answers when told to. */
function setUp(bytes: number) {
  const memory = new Uint8Array(bytes);
  const asked: [number, number][] = [];
  const answers: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const pages = new FreshPages(memory, (part) => {
    asked.push([part.byteOffset / MiB, part.length / MiB]);
    return new Promise<void>((resolve, reject) => answers.push({ resolve, reject }));
  });
  const settle = async (error?: Error): Promise<void> => {
    const { resolve, reject } = answers.shift()!;
    if (error) reject(error);
    else resolve();
    await new Promise((resume) => setImmediate(resume));
  };
  return { pages, asked, answers, settle };
}

test("asks for what lies behind the highest use, in steps, one at a time", async () => {
  const { pages, asked, answers, settle } = setUp(64 * MiB);
  expect(asked).toEqual([]);
  pages.used(MiB);
  expect(asked).toEqual([[1, 4]]);
  await settle();
  expect(asked).toEqual([
    [1, 4],
    [5, 4],
  ]);
  await settle();
  expect(answers).toEqual([]);
  pages.used(MiB / 2);
  expect(asked.length).toBe(2);
  // Use has overtaken what was asked for: what lies between is not asked for any more.
  pages.used(20 * MiB);
  expect(asked.at(-1)).toEqual([20, 4]);
});

test("ends with the memory", async () => {
  const { pages, asked, answers, settle } = setUp(6 * MiB);
  pages.used(MiB);
  await settle();
  expect(asked.at(-1)).toEqual([5, 1]);
  await settle();
  pages.used(6 * MiB);
  expect([asked.length, answers.length]).toEqual([2, 0]);
});

test("a system that does not know how is not asked again", async () => {
  const { pages, asked, settle } = setUp(64 * MiB);
  pages.used(MiB);
  await settle(new Error("EINVAL"));
  pages.used(30 * MiB);
  expect(asked.length).toBe(1);
});
