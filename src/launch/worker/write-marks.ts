/**
 * Marks of volumes that may hold data which is nowhere else: one small file for each mount point, in the pool's folder.
 *
 * A mark is on the disk before anything can be written to the volume, and goes when a drain has brought everything home.
 * So it says the truth after a restart of the machine too, when no process and no mount is left to ask.
 */
import { closeSync, existsSync, fsyncSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";

export class WriteMarks {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  set(mountPoint: string): void {
    const mark = openSync(this.pathOf(mountPoint), "w", 0o600);
    try {
      fsyncSync(mark);
    } finally {
      closeSync(mark);
    }
    // The name as well, or a loss of power forgets it.
    const folder = openSync(this.folder, "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }

  has(mountPoint: string): boolean {
    return existsSync(this.pathOf(mountPoint));
  }

  clear(mountPoint: string): void {
    rmSync(this.pathOf(mountPoint), { force: true });
  }

  private pathOf(mountPoint: string): string {
    return join(this.folder, `writes-${Buffer.from(mountPoint).toString("base64url")}`);
  }
}
