/**
 * SmallFiles: whole small files are made many at a time. The hop to the thread pool and back costs more than making one.
 *
 * One visit is under way at a time; what comes meanwhile goes with the next. So a file that comes alone does not wait,
 * and the busier the machine is, the more of them go together.
 */
import { native } from "../common/native.ts";
import { BLOCK } from "./blocks.ts";

/** In one visit: others want the thread as well. */
const MOST_TOGETHER = 32;

interface Wanted {
  readonly path: string;
  readonly source: Uint8Array;
  readonly crcs: Uint32Array;
  readonly resolve: (fd: number) => void;
  readonly reject: (error: unknown) => void;
}

export class SmallFiles {
  #waiting: Wanted[] = [];
  #underWay = false;

  /**
   * Makes a file that holds `source`, and leaves it open.
   *
   * @param source unchanged until this resolves
   * @param crcs receives the CRC32C of each block
   * @returns its descriptor
   */
  async create(path: string, source: Uint8Array, crcs: Uint32Array): Promise<number> {
    return await new Promise<number>((resolve, reject) => {
      this.#waiting.push({ path, source, crcs, resolve, reject });
      if (!this.#underWay) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#underWay = true;
    while (this.#waiting.length > 0) await makeAll(this.#waiting.splice(0, MOST_TOGETHER));
    this.#underWay = false;
  }
}

async function makeAll(files: readonly Wanted[]): Promise<void> {
  try {
    const results = await native().createFiles(
      files.map(({ path }) => path),
      files.map(({ source }) => source),
      BLOCK,
      files.map(({ crcs }) => crcs),
    );
    files.forEach(({ resolve, reject }, i) => {
      const result = results[i]!;
      if (typeof result === "number") resolve(result);
      else reject(result);
    });
  } catch (error) {
    for (const { reject } of files) reject(error);
  }
}
