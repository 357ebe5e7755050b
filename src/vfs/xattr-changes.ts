/**
 * Extended attributes of a writable volume: what users set (`user.*`) is kept with the object.
 *
 * Other namespaces have meanings that a bucket cannot keep: they are refused, as by a file system without them. The
 * attributes `user.hawser.*` describe the object and can be read only; they are not listed, so that copying programs do
 * not try to copy them.
 */
import { HawserError } from "../common/errors.ts";
import type { AttributeChanges } from "./attribute-changes.ts";
import type { NodeId } from "./filesystem.ts";
import type { FileMetadata } from "./object-metadata.ts";
import type { Xattrs } from "./xattr-form.ts";

const OURS = "user.hawser.";

/** @throws `not_supported` for a namespace that is not kept */
export function checkNamespace(name: string): void {
  if (!name.startsWith("user.") || name.length === "user.".length)
    throw new HawserError("not_supported", "Only attributes 'user.*' are kept.");
}

export function xattrOf(metadata: FileMetadata | undefined, name: string): Uint8Array {
  const value = metadata?.xattrs?.get(name);
  if (value === undefined) throw new HawserError("no_attribute", `There is no attribute '${name}'.`);
  return value;
}

export class XattrChanges {
  readonly #changes: AttributeChanges;

  constructor(changes: AttributeChanges) {
    this.#changes = changes;
  }

  /** @throws `exists`, `no_attribute`, `not_supported`, `not_permitted`, `no_space` */
  async set(
    nodeId: NodeId,
    name: string,
    value: Uint8Array,
    flags: { create: boolean; replace: boolean },
  ): Promise<void> {
    checkWritable(name);
    await this.#changes.change(nodeId, ({ xattrs }) => {
      const has = xattrs?.has(name) ?? false;
      if (flags.create && has) throw new HawserError("exists", `There is an attribute '${name}' already.`);
      if (flags.replace && !has) throw new HawserError("no_attribute", `There is no attribute '${name}'.`);
      return { xattrs: new Map(xattrs).set(name, value) };
    });
  }

  /** @throws `no_attribute`, `not_supported`, `not_permitted` */
  async remove(nodeId: NodeId, name: string): Promise<void> {
    checkWritable(name);
    await this.#changes.change(nodeId, (metadata) => {
      xattrOf(metadata, name);
      const left = new Map<string, Uint8Array>(metadata.xattrs);
      left.delete(name);
      const xattrs: Xattrs | undefined = left.size > 0 ? left : undefined;
      return { xattrs };
    });
  }
}

function checkWritable(name: string): void {
  checkNamespace(name);
  if (name.startsWith(OURS)) throw new HawserError("not_permitted", "The attribute describes the object.");
}
