/** A file system that knows one name for `A.txt` and `a.txt`, as those of macOS and Windows do. */
import type { Caller, Entry, NodeId, OpenFlags, OpenReply } from "../../src/vfs/filesystem.ts";
import { MemoryFilesystem } from "./memory-filesystem.ts";

type Rename = Parameters<MemoryFilesystem["rename"]>;

export class CaselessFilesystem extends MemoryFilesystem {
  override lookup(parent: NodeId, name: string): ReturnType<MemoryFilesystem["lookup"]> {
    return super.lookup(parent, name.toLowerCase());
  }

  override create(
    parent: NodeId,
    name: string,
    mode: number,
    flags: OpenFlags,
    caller: Caller,
  ): { entry: Entry; open: OpenReply } {
    return super.create(parent, name.toLowerCase(), mode, flags, caller);
  }

  override mkdir(parent: NodeId, name: string, mode: number, caller: Caller): Entry {
    return super.mkdir(parent, name.toLowerCase(), mode, caller);
  }

  override unlink(parent: NodeId, name: string): void {
    super.unlink(parent, name.toLowerCase());
  }

  override rmdir(parent: NodeId, name: string): void {
    super.rmdir(parent, name.toLowerCase());
  }

  override rename(from: Rename[0], to: Rename[1], flags: Rename[2]): void {
    const fold = <P extends { name: string }>(place: P): P => ({ ...place, name: place.name.toLowerCase() });
    super.rename(fold(from), fold(to), flags);
  }
}
