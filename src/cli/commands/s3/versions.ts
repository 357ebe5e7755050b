/** `hawser s3 versions`: old versions of objects. */
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { HawserError } from "../../../common/errors.ts";
import { formatBytes } from "../../../common/units.ts";
import { formatS3, parseS3Address } from "../../../transfer/address.ts";
import type { S3Address } from "../../../transfer/address.ts";
import { listVersions, removeVersions, restoreVersion } from "../../../transfer/bucket/versions.ts";
import type { ObjectVersion } from "../../../transfer/bucket/versions.ts";
import type { Connection } from "../../../transfer/connection.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, formatTime, objectAddress } from "../../s3/arguments.ts";
import { catVersion } from "../../s3/object-bytes.ts";
import { processStreams } from "../../streams.ts";
import type { Terminal } from "../../terminal.ts";

export const command: Command = {
  usage: [
    "list s3://BUCKET[/PREFIX]",
    "get s3://BUCKET/KEY --version-id ID PATH",
    "restore s3://BUCKET/KEY [--version-id ID]",
    "delete s3://BUCKET/KEY --version-id ID",
  ],
  description:
    "Lists versions, newest first; gets an old one; makes an old one the present one again, which also takes a removal " +
    "back; or removes one for good. A bucket keeps versions after 'hawser s3 bucket set --versioning on'.",
  maxPositionals: 3,
  options: {
    ...BUCKET_OPTIONS,
    "version-id": { type: "string", value: "ID", describe: "Which version" },
  },
  examples: [
    ["s3 versions list s3://bucket/model.pt", "Its versions"],
    ["s3 versions get s3://bucket/model.pt --version-id ID ./old.pt", "Get an old one"],
    ["s3 versions restore s3://bucket/model.pt", "Take back its removal"],
    ["s3 versions delete s3://bucket/model.pt --version-id ID", "Remove one for good"],
  ],
  async run(args, terminal) {
    const [action, place, target] = args.positionals;
    const versionId = args.text("version-id");
    const json = args.flag("json");
    if (target !== undefined && action !== "get")
      throw usageError("s3 versions", `'${target}' is one argument too many`);
    await using connection = openConnection(args);
    if (action === "list") {
      if (place === undefined) throw usageError("s3 versions", "Say of what: s3://bucket/key");
      const address = parseS3Address(place);
      return await interruptible((signal) => list(connection, address, json, terminal, signal));
    }
    if (action === "get") {
      const address = objectAddress("versions", place);
      const id = needed(versionId, action);
      if (target === undefined)
        throw usageError("s3 versions", "Say where to: a path, or - for standard output");
      return await interruptible((signal) => get(connection, address, id, target, signal));
    }
    if (action === "restore") {
      const { bucket, key } = objectAddress("versions", place);
      const done = await restoreVersion(await connection.store(bucket), key, versionId);
      const uri = formatS3(bucket, key);
      if (json) terminal.out(JSON.stringify({ type: "restored", uri, ...done }));
      else terminal.out(`${uri}: ${HOW[done.how]} (version ${done.versionId}).`);
      return;
    }
    if (action === "delete") {
      const { bucket, key } = objectAddress("versions", place);
      const id = needed(versionId, action);
      const [failure] = await removeVersions(await connection.store(bucket), [{ key, versionId: id }]);
      if (failure) throw failure;
      const uri = formatS3(bucket, key);
      if (json) terminal.out(JSON.stringify({ type: "removed", uri, versionId: id }));
      else terminal.out(`Removed version ${id} of ${uri}.`);
      return;
    }
    throw usageError("s3 versions", "Say what to do: list, get, restore or delete");
  },
};

const HOW = {
  present: "it is the present version already",
  removal: "the removal was taken back",
  copy: "an old version is the present one again",
} as const;

function needed(versionId: string | undefined, action: string): string {
  if (versionId !== undefined) return versionId;
  throw usageError("s3 versions", `'${action}' needs --version-id, which 'list' shows`);
}

async function list(
  connection: Connection,
  { bucket, key }: S3Address,
  json: boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  let any = false;
  const show = json ? (version: ObjectVersion) => jsonLine(bucket, version) : textLine;
  for await (const page of listVersions(await connection.store(bucket), key, { signal })) {
    if (page.length === 0) continue;
    any = true;
    terminal.out(page.map(show).join("\n"));
  }
  if (!any && key !== "")
    throw new HawserError("not_found", `There is no version of ${formatS3(bucket, key)}.`);
}

function jsonLine(bucket: string, { mtimeMs, ...version }: ObjectVersion): string {
  const modified = new Date(mtimeMs).toISOString();
  return JSON.stringify({ type: "version", uri: formatS3(bucket, version.key), ...version, modified });
}

function textLine({ key, versionId, isLatest, isDeleteMarker, sizeBytes, mtimeMs }: ObjectVersion): string {
  const what = isDeleteMarker ? "removed" : formatBytes(sizeBytes);
  return `${formatTime(mtimeMs)}  ${what.padStart(10)}  ${isLatest ? "*" : " "} ${versionId}  ${key}`;
}

/** The file appears when it is complete. */
async function get(
  connection: Connection,
  address: S3Address,
  versionId: string,
  target: string,
  signal: AbortSignal,
): Promise<void> {
  if (target === "-") return await catVersion(connection, address, versionId, processStreams(), signal);
  const name = address.key.slice(address.key.lastIndexOf("/") + 1);
  const path = target.endsWith("/") || target === "." ? `${target.replace(/\/+$/, "")}/${name}` : target;
  const partial = `${path}.${process.pid}.partial`;
  const store = await connection.store(address.bucket);
  const request = { key: address.key, versionId };
  const { body } = await store.getStream(request, { reason: "bulk", signal });
  try {
    await pipeline(body, createWriteStream(partial));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    if (HawserError.is(error)) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new HawserError("io_error", `${path} cannot be written: ${why}.`, { cause: error });
  }
}
