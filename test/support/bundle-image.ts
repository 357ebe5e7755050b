/**
 * An image of a machine that has the worker bundle already: most tests are not about its way there, which costs seconds
 * on each machine. It is made once for each build, by the product's own packing, and machines have it below what they
 * install themselves.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleCache, bundleParts, pack } from "../../src/launch/bundle/bundle.ts";
import type { BundlePart } from "../../src/launch/bundle/bundle.ts";
import { run } from "./run.ts";

const IMAGE = fileURLToPath(new URL("../../node_modules/.cache/hawser-image", import.meta.url));
/** Shared by every launcher of the tests: it is named by content. */
export const TEST_CACHE = "/tmp/hawser-test-cache";

/** @returns the folder that is to be /var/lib/hawser/parts */
export async function bundleImage(): Promise<string> {
  const cache = bundleCache({ XDG_CACHE_HOME: TEST_CACHE });
  const parts = await bundleParts(process.arch === "arm64" ? "arm64" : "x64", cache);
  mkdirSync(IMAGE, { recursive: true });
  for (const part of parts) if (!existsSync(join(IMAGE, part.name))) await unpack(part, cache);
  const wanted = new Set(parts.map(({ name }) => name));
  for (const name of readdirSync(IMAGE)) {
    // Of an earlier build; what begins with a dot is being made.
    if (!name.startsWith(".") && !wanted.has(name))
      rmSync(join(IMAGE, name), { recursive: true, force: true });
  }
  return IMAGE;
}

/** Whole or not at all: several test processes may do it at once. */
async function unpack(part: BundlePart, cache: string): Promise<void> {
  const { path } = await pack(part, cache);
  const fresh = join(IMAGE, `.${part.name}.${process.pid}`);
  mkdirSync(fresh, { mode: 0o755 });
  await run("tar", ["-xzf", path, "-C", fresh, "--no-same-owner"]);
  await run("chmod", ["-R", "u+rwX,go+rX,go-w", fresh]);
  writeFileSync(join(fresh, "complete"), "");
  try {
    renameSync(fresh, join(IMAGE, part.name));
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(join(IMAGE, part.name))) throw error;
  }
}
