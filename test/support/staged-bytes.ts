/** The bytes of a staged file in memory, with a base that is loaded when it is first wanted. */

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;

export class StagedBytes {
  content: Buffer = Buffer.alloc(0);
  mtimeMs: number;
  readonly #now: () => number;
  #base: (() => Promise<Buffer>) | undefined;

  constructor(now: () => number, base: (() => Promise<Buffer>) | undefined) {
    this.#now = now;
    this.#base = base;
    this.mtimeMs = now();
  }

  get isWhole(): boolean {
    return this.#base === undefined;
  }

  async load(): Promise<void> {
    const base = this.#base;
    if (!base) return;
    const content = await base();
    if (this.#base !== base) return;
    this.#base = undefined;
    this.content = content;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    await this.load();
    return Buffer.from(this.content.subarray(offset, offset + length));
  }

  async write(offset: number, bytes: Uint8Array): Promise<number> {
    await this.load();
    this.#resize(Math.max(this.content.length, offset + bytes.length));
    this.content.set(bytes, offset);
    this.mtimeMs = this.#now();
    return bytes.length;
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.load();
    this.#resize(sizeBytes);
    this.mtimeMs = this.#now();
  }

  async allocate(mode: number, offset: number, length: number): Promise<void> {
    await this.load();
    if (mode & PUNCH_HOLE) this.content.fill(0, offset, offset + length);
    if ((mode & KEEP_SIZE) === 0) this.#resize(Math.max(this.content.length, offset + length));
    this.mtimeMs = this.#now();
  }

  #resize(sizeBytes: number): void {
    if (sizeBytes <= this.content.length) {
      this.content = Buffer.from(this.content.subarray(0, sizeBytes));
      return;
    }
    const grown = Buffer.alloc(sizeBytes);
    this.content.copy(grown);
    this.content = grown;
  }
}
