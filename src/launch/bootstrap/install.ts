/**
 * Installing the worker: parts of the bundle that a node lacks are sent, checked, unpacked beside where they belong and
 * moved there whole. A part that is there is not sent again.
 */
import { HawserError } from "../../common/errors.ts";
import type { Bytes } from "../../common/units.ts";
import { bundleParts, pack } from "../bundle/bundle.ts";
import type { BundlePart, PackedPart } from "../bundle/bundle.ts";
import type { WorkerArch } from "../bundle/node-binary.ts";
import { reasonIn, saysNoRoom } from "../no-room.ts";
import type { SshConnection } from "../ssh/connection.ts";
import { shellQuote, shellScript } from "../ssh/shell.ts";
import { makeUploadFolder, uploadFile } from "../ssh/upload.ts";
import { WORKER_ROOT, requireRoom } from "./probe.ts";
import type { Probe } from "./probe.ts";

const UNPACK = `
set -eu
archive=$1; sum=$2; parts=$3; name=$4
[ "$(sha256sum < "$archive" | cut -d' ' -f1)" = "$sum" ] || { echo "it arrived damaged" >&2; exit 3; }
mkdir -p "$parts"
chmod 755 "$(dirname "$parts")" "$parts"
fresh=$parts/.$name.$$
trap 'rm -rf "$fresh"' EXIT
mkdir "$fresh"
tar -xzf "$archive" -C "$fresh" --no-same-owner
chmod -R u+rwX,go+rX,go-w "$fresh"
: > "$fresh/complete"
rm -f "$archive"
rm -rf "$parts/$name"
mv "$fresh" "$parts/$name"
`;

/** On every node's PATH, unless something else has the name. */
const LINK = `
set -eu
target=$1
for place in /usr/local/bin/hawser; do
  if [ -e "$place" ] && ! grep -q "Hawser's worker" "$place" 2>/dev/null; then continue; fi
  mkdir -p "$(dirname "$place")"
  printf '#!/bin/sh\\n# Hawser'"'"'s worker\\nexec %s "$@"\\n' "$target" > "$place.$$"
  chmod 755 "$place.$$"
  mv "$place.$$" "$place"
done
`;

/** How the worker's program is started on a node. */
export interface WorkerProgram {
  node: string;
  hawser: string;
  /** Command line that starts it, without arguments. */
  command: string;
}

/** The bundle of this installation, found and packed once for all nodes of a kind. */
export class Bundle {
  private readonly cache: string;
  private readonly parts = new Map<WorkerArch, Promise<[node: BundlePart, hawser: BundlePart]>>();
  private readonly packed = new Map<string, Promise<PackedPart>>();

  constructor(cache: string) {
    this.cache = cache;
  }

  partsFor(arch: WorkerArch): Promise<[node: BundlePart, hawser: BundlePart]> {
    let parts = this.parts.get(arch);
    if (!parts) {
      parts = bundleParts(arch, this.cache);
      this.parts.set(arch, parts);
    }
    return parts;
  }

  pack(part: BundlePart): Promise<PackedPart> {
    let packed = this.packed.get(part.name);
    if (!packed) {
      packed = pack(part, this.cache);
      this.packed.set(part.name, packed);
    }
    return packed;
  }
}

/** What was sent, for the user. */
export interface Installed {
  program: WorkerProgram;
  sentBytes: Bytes;
}

/** @throws HawserError `no_space`, `node_failed`, `bundle_missing` */
export async function install(
  ssh: SshConnection,
  node: Probe,
  bundle: Bundle,
  signal: AbortSignal,
): Promise<Installed> {
  const parts = await bundle.partsFor(node.arch);
  const missing = parts.filter(({ name }) => !node.parts.includes(name));
  const program = programOf(parts);
  if (missing.length === 0) return { program, sentBytes: 0 };
  const packed = await Promise.all(missing.map((part) => bundle.pack(part)));
  const needed = packed.reduce((sum, { sizeBytes, packedBytes }) => sum + sizeBytes + packedBytes, 0);
  requireRoom(node, needed, ssh.label);
  const folder = await makeUploadFolder(ssh, signal);
  try {
    for (const { name, path, checksum } of packed) {
      const archive = `${folder}/${name}.tar.gz`;
      await uploadFile(ssh, path, archive, { signal });
      const unpack = shellScript(UNPACK, archive, checksum, `${WORKER_ROOT}/parts`, name);
      await must(ssh, `${node.sudo}${unpack}`, signal);
    }
    await must(ssh, `${node.sudo}${shellScript(LINK, program.command)}`, signal);
  } finally {
    if (ssh.isOpen) {
      await ssh
        .run(`rm -rf ${shellQuote(folder)}`, { signal: new AbortController().signal })
        .catch(() => undefined);
    }
  }
  return { program, sentBytes: packed.reduce((sum, { packedBytes }) => sum + packedBytes, 0) };
}

export function programOf([node, hawser]: readonly [BundlePart, BundlePart]): WorkerProgram {
  const binary = `${WORKER_ROOT}/parts/${node.name}/bin/node`;
  const script = `${WORKER_ROOT}/parts/${hawser.name}/bin/hawser.js`;
  return { node: binary, hawser: script, command: `${binary} ${script}` };
}

async function must(ssh: SshConnection, command: string, signal: AbortSignal): Promise<void> {
  const { code, stderr } = await ssh.run(command, { signal });
  if (code === 0) return;
  throw new HawserError(
    saysNoRoom(stderr) ? "no_space" : "node_failed",
    `${ssh.label}: the worker could not be installed (${reasonIn(stderr) || `code ${code}`}).`,
  );
}
