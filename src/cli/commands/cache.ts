/** `hawser cache`: what is in a cache folder, beside the mounts that use it. */
import { clearCache, listCache, verifyCache } from "../../cache/cache-admin.ts";
import type { CachePlace } from "../../cache/cache-admin.ts";
import type { CachedVolume } from "../../cache/cache-folder.ts";
import { formatBytes } from "../../common/units.ts";
import { knownMounts } from "../../daemon/mounts.ts";
import { createProgress } from "../../observe/progress.ts";
import type { Arguments, Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { usageError } from "../parse.ts";
import { table } from "../table.ts";
import type { Terminal } from "../terminal.ts";

export const command: Command = {
  usage: ["ls [KEY-PREFIX] [--cache-dir FOLDER]", "size", "clear [BUCKET]", "verify"],
  description:
    "Looks at cache folders: those of the volumes that are mounted, or the one named. ls: what is kept of which object. " +
    "size: bytes by volume. clear: deletes, but leaves alone what a mount uses ('hawser warm --evict' frees that). " +
    "verify: reads everything and compares it with its checksums; what is wrong is fetched again when it is read.",
  options: {
    "cache-dir": { type: "string", value: "FOLDER", describe: "The cache folder" },
    json: { type: "boolean", describe: "As JSON" },
  },
  maxPositionals: 2,
  examples: [
    ["cache size", "How much each volume keeps"],
    ["cache ls train/ --cache-dir /scratch/cache", "What is kept of some objects"],
    ["cache clear --cache-dir /scratch/cache", "Delete what no mount uses"],
  ],
  async run(args, terminal) {
    const [action, what] = args.positionals;
    if (action === "ls") return await list(args, terminal, what ?? "");
    if (action === "size") return await size(args, terminal);
    if (action === "clear") return await clear(args, terminal, what);
    if (action === "verify") return await verify(args, terminal);
    throw usageError("cache", "Say what to do: ls, size, clear or verify");
  },
};

/** The folder named, or those that mounts use. */
function foldersOf(args: Arguments): string[] {
  const named = args.text("cache-dir");
  if (named !== undefined) return [named];
  const used = new Set(knownMounts().flatMap(({ settings }) => settings?.volume.cache.dir ?? []));
  if (used.size === 0)
    throw usageError("cache", "No mounted volume has a cache folder; name one with --cache-dir");
  return [...used];
}

async function placesOf(args: Arguments): Promise<CachePlace[]> {
  return (await Promise.all(foldersOf(args).map((folder) => listCache(folder)))).flat();
}

function nameOf({ bucket, prefix }: CachedVolume): string {
  return `s3://${bucket}/${prefix}`.replace(/\/$/, "");
}

async function list(args: Arguments, terminal: Terminal, prefix: string): Promise<void> {
  const rows = (await placesOf(args)).flatMap(({ volume, objects }) =>
    objects
      .filter(({ key }) => key.startsWith(prefix))
      .map((object) => ({ volume: nameOf(volume), ...object })),
  );
  rows.sort((a, b) => (a.volume + a.key < b.volume + b.key ? -1 : 1));
  if (args.flag("json")) return terminal.out(JSON.stringify(rows, null, 2));
  const lines = rows.map(({ volume, key, sizeBytes, cachedBytes, complete }) => [
    volume,
    key,
    formatBytes(sizeBytes),
    complete ? "all" : formatBytes(cachedBytes),
  ]);
  for (const line of table(["VOLUME", "KEY", "SIZE", "CACHED"], lines)) terminal.out(line);
}

async function size(args: Arguments, terminal: Terminal): Promise<void> {
  const rows = (await placesOf(args)).map(({ volume, usedBytes, objects, inUse, path }) => ({
    volume: nameOf(volume),
    usedBytes,
    objects: objects.length,
    inUse,
    path,
  }));
  if (args.flag("json")) return terminal.out(JSON.stringify(rows, null, 2));
  const lines = rows.map(({ volume, usedBytes, objects, inUse, path }) => [
    volume,
    formatBytes(usedBytes),
    String(objects),
    inUse ? "yes" : "no",
    path,
  ]);
  for (const line of table(["VOLUME", "BYTES", "OBJECTS", "IN USE", "FOLDER"], lines)) terminal.out(line);
}

async function clear(args: Arguments, terminal: Terminal, bucket: string | undefined): Promise<number> {
  const only = bucket === undefined ? undefined : (volume: CachedVolume) => isNamed(volume, bucket);
  const results = await Promise.all(foldersOf(args).map((folder) => clearCache(folder, only)));
  const cleared = results.flatMap((result) => result.cleared);
  const inUse = results.flatMap((result) => result.inUse);
  if (args.flag("json")) terminal.out(JSON.stringify({ cleared, inUse }, null, 2));
  else {
    for (const { volume, usedBytes } of cleared)
      terminal.err(`hawser: cleared ${formatBytes(usedBytes)} of ${nameOf(volume)}`);
    for (const volume of inUse)
      terminal.err(`hawser: ${nameOf(volume)} is mounted and was left; use 'hawser warm --evict PATH'`);
    if (cleared.length + inUse.length === 0) terminal.err("hawser: there was nothing to clear");
  }
  return inUse.length > 0 ? EXIT.failure : EXIT.ok;
}

/** By bucket name or s3:// URL. */
function isNamed(volume: CachedVolume, name: string): boolean {
  return volume.bucket === name || nameOf(volume) === name.replace(/\/$/, "");
}

async function verify(args: Arguments, terminal: Terminal): Promise<number> {
  const folders = foldersOf(args);
  const total = (await placesOf(args)).reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  const json = args.flag("json");
  using progress = json
    ? undefined
    : createProgress({ label: "Verifying", unit: "bytes", stream: process.stderr });
  let before = 0;
  const results = [];
  for (const folder of folders) {
    const result = await verifyCache(folder, (bytes) => progress?.update(before + bytes, total));
    before += result.bytes;
    results.push(result);
  }
  progress?.stop();
  const corrupt = results.flatMap((result) => result.corrupt);
  const unreadable = results.flatMap((result) => result.unreadable);
  const objects = results.reduce((sum, result) => sum + result.objects, 0);
  if (json) terminal.out(JSON.stringify({ objects, bytes: before, corrupt, unreadable }, null, 2));
  else {
    for (const { volume, key, blocks } of corrupt)
      terminal.out(`${nameOf(volume)} ${key}: ${blocks} blocks are wrong`);
    for (const { volume, key } of unreadable) terminal.out(`${nameOf(volume)} ${key}: cannot be read`);
    terminal.err(
      `hawser: ${objects} objects, ${formatBytes(before)}: ${corrupt.length + unreadable.length} bad`,
    );
  }
  return corrupt.length + unreadable.length > 0 ? EXIT.failure : EXIT.ok;
}
