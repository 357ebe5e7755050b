/** A file system in memory, as plain as can be: what POSIX says of names. */
import { HawserError } from "../../src/common/errors.ts";
import type { ErrorCode } from "../../src/common/errors.ts";

export interface ModelFile {
  kind: "file" | "symlink";
  bytes: Buffer;
}

export interface ModelFolder {
  kind: "directory";
  entries: Map<string, ModelNode>;
}

export type ModelNode = ModelFile | ModelFolder;

function fail(code: ErrorCode): never {
  throw new HawserError(code, "as the model says");
}

export class PosixModel {
  readonly root: ModelFolder = { kind: "directory", entries: new Map() };

  find(path: string): ModelNode | undefined {
    let node: ModelNode | undefined = this.root;
    for (const name of path.split("/"))
      node = node?.kind === "directory" ? node.entries.get(name) : undefined;
    return node;
  }

  write(path: string, text: string, exclusive: boolean): void {
    const { folder, name } = this.#parent(path);
    const node = folder.entries.get(name);
    if (node) {
      if (exclusive || node.kind === "symlink") fail("exists");
      if (node.kind === "directory") fail("is_a_directory");
      node.bytes = Buffer.from(text);
      return;
    }
    folder.entries.set(name, { kind: "file", bytes: Buffer.from(text) });
  }

  symlink(path: string, target: string): void {
    const { folder, name } = this.#parent(path);
    if (folder.entries.has(name)) fail("exists");
    folder.entries.set(name, { kind: "symlink", bytes: Buffer.from(target) });
  }

  mkdir(path: string): void {
    const { folder, name } = this.#parent(path);
    if (folder.entries.has(name)) fail("exists");
    folder.entries.set(name, { kind: "directory", entries: new Map() });
  }

  rmdir(path: string): void {
    const { folder, name } = this.#parent(path);
    const node = folder.entries.get(name) ?? fail("not_found");
    if (node.kind !== "directory") fail("not_a_directory");
    if (node.entries.size > 0) fail("not_empty");
    folder.entries.delete(name);
  }

  unlink(path: string): void {
    const { folder, name } = this.#parent(path);
    const node = folder.entries.get(name) ?? fail("not_found");
    if (node.kind === "directory") fail("is_a_directory");
    folder.entries.delete(name);
  }

  rename(from: string, to: string, exchange: boolean): void {
    const source = this.#parent(from);
    const target = this.#parent(to);
    const node = source.folder.entries.get(source.name) ?? fail("not_found");
    const other = target.folder.entries.get(target.name);
    if (node === other) return;
    if (holds(node, target.folder)) fail("invalid_argument");
    if (exchange) {
      if (other && holds(other, source.folder)) fail("invalid_argument");
      source.folder.entries.set(source.name, other ?? fail("not_found"));
      target.folder.entries.set(target.name, node);
      return;
    }
    if (other?.kind === "directory") {
      if (node.kind !== "directory") fail("is_a_directory");
      if (other.entries.size > 0) fail("not_empty");
    } else if (other && node.kind === "directory") {
      fail("not_a_directory");
    }
    source.folder.entries.delete(source.name);
    target.folder.entries.set(target.name, node);
  }

  /** Every path, sorted; folders with a slash behind. */
  paths(): string[] {
    return [...walk(this.root, "")]
      .map(([path, node]) => (node.kind === "directory" ? `${path}/` : path))
      .sort();
  }

  *files(): Generator<[string, ModelFile]> {
    for (const [path, node] of walk(this.root, "")) if (node.kind !== "directory") yield [path, node];
  }

  #parent(path: string): { folder: ModelFolder; name: string } {
    const at = path.lastIndexOf("/");
    let folder = this.root;
    for (const name of at < 0 ? [] : path.slice(0, at).split("/")) {
      const next = folder.entries.get(name) ?? fail("not_found");
      if (next.kind !== "directory") fail("not_a_directory");
      folder = next;
    }
    return { folder, name: path.slice(at + 1) };
  }
}

function* walk(folder: ModelFolder, prefix: string): Generator<[string, ModelNode]> {
  for (const [name, node] of folder.entries) {
    yield [prefix + name, node];
    if (node.kind === "directory") yield* walk(node, `${prefix}${name}/`);
  }
}

function holds(node: ModelNode, folder: ModelFolder): boolean {
  if (node === folder) return true;
  if (node.kind !== "directory") return false;
  return [...node.entries.values()].some((child) => holds(child, folder));
}
