/** Stands for the kernel where files are handed to it: like the kernel, it holds them by descriptors of its own. */
import { closeSync, openSync } from "node:fs";
import type { BackingKernel } from "../../src/cache/content.ts";

/** A backing id is a descriptor that reads the file. */
export class BackingFiles implements BackingKernel {
  readonly open = new Set<number>();

  openBacking(fd: number): number {
    const own = openSync(`/proc/self/fd/${fd}`, "r");
    this.open.add(own);
    return own;
  }

  closeBacking(backingId: number): void {
    if (!this.open.delete(backingId)) throw new Error(`backing id ${backingId} is not open`);
    closeSync(backingId);
  }
}
