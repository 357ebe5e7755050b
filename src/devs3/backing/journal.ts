/**
 * Journal: state events as JSON lines, appended in order.
 *
 * Lines that wait while a write is under way go out together. A torn last line, from a crash, is ignored at replay.
 */
import { createReadStream } from "node:fs";
import { open, rename, type FileHandle } from "node:fs/promises";
import { createInterface } from "node:readline";

export class Journal {
  readonly #path: string;
  #file: FileHandle | undefined;
  #pending: string[] = [];
  #writing: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Lines from earlier runs. */
  async *replay(): AsyncGenerator {
    let input;
    try {
      input = await open(this.#path, "r");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    await input.close();
    for await (const line of createInterface({ input: createReadStream(this.#path), crlfDelay: Infinity })) {
      if (line === "") continue;
      try {
        yield JSON.parse(line) as unknown;
      } catch {
        return;
      }
    }
  }

  /** Puts these lines in the place of all before, and begins to append behind them. */
  async rewrite(lines: Iterable<unknown>): Promise<void> {
    const fresh = `${this.#path}.new`;
    const file = await open(fresh, "w", 0o600);
    let text = "";
    for (const line of lines) {
      text += `${JSON.stringify(line)}\n`;
      if (text.length > 1 << 20) {
        await file.write(text);
        text = "";
      }
    }
    await file.write(text);
    await rename(fresh, this.#path);
    await this.#file?.close();
    this.#file = file;
  }

  /** Resolves when the line is with the kernel. */
  append(line: unknown): Promise<void> {
    this.#pending.push(`${JSON.stringify(line)}\n`);
    this.#writing ??= this.#write();
    return this.#writing;
  }

  async #write(): Promise<void> {
    // Lines of the same turn of the event loop go into one write.
    await Promise.resolve();
    try {
      while (this.#pending.length > 0) {
        const text = this.#pending.join("");
        this.#pending = [];
        await this.#file!.write(text);
      }
    } finally {
      this.#writing = undefined;
    }
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
  }
}
