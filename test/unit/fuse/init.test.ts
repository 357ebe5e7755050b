import { describe, expect, it } from "vitest";
import { negotiate, putInitReply, type InitRequest } from "../../../src/fuse/init.ts";
import { InitFlag, InitFlag2 } from "../../../src/fuse/protocol.ts";

const WRITEBACK_CACHE = 1 << 16;
const READDIRPLUS_AUTO = 1 << 14;
const POSIX_LOCKS = 1 << 1;
const FLOCK_LOCKS = 1 << 10;

/** A kernel that offers everything. */
const newest: InitRequest = {
  major: 7,
  minor: 45,
  maxReadaheadBytes: 131_072,
  flags: 0x7fff_ffff,
  flags2: 0x7fff_ffff,
};
/** Linux 5.15: protocol 7.34, no second word of flags. */
const linux515: InitRequest = { ...newest, minor: 34, flags: 0x3fff_ffff, flags2: 0 };
const wishes = { passthrough: true, maxStackDepth: 1 } as const;

describe("negotiate", () => {
  it("takes passthrough and resend from a kernel that offers them", () => {
    const { settings, flags2, maxStackDepth } = negotiate(newest, wishes);
    expect(settings).toMatchObject({ passthrough: true, resend: true, readdirPlus: true });
    expect(settings.maxWriteBytes).toBe(1024 * 1024);
    expect(flags2 & InitFlag2.PASSTHROUGH).not.toBe(0);
    expect(maxStackDepth).toBe(1);
  });

  it("does without them on Linux 5.15", () => {
    const { settings, flags2, flags } = negotiate(linux515, wishes);
    expect(settings).toMatchObject({
      passthrough: false,
      resend: false,
      readdirPlus: true,
      protocolMinor: 34,
    });
    expect(flags2).toBe(0);
    expect(flags & InitFlag.INIT_EXT).toBe(0);
  });

  it("ignores a second word of flags that was not announced", () => {
    expect(negotiate({ ...linux515, flags2: 0x7fff_ffff }, wishes).flags2).toBe(0);
  });

  it("asks for no passthrough, and so for no stacking, unless it is wished for", () => {
    const { flags2, maxStackDepth } = negotiate(newest, { passthrough: false, maxStackDepth: 2 });
    expect(flags2 & InitFlag2.PASSTHROUGH).toBe(0);
    expect(maxStackDepth).toBe(0);
  });

  it("forces readdirplus and leaves locks and write-back to the kernel", () => {
    const { flags } = negotiate(newest, wishes);
    expect(flags & InitFlag.DO_READDIRPLUS).not.toBe(0);
    expect(flags & (READDIRPLUS_AUTO | WRITEBACK_CACHE | POSIX_LOCKS | FLOCK_LOCKS)).toBe(0);
  });

  it("never answers a flag that was not offered", () => {
    expect(negotiate({ ...newest, flags: 0, flags2: 0 }, wishes)).toMatchObject({ flags: 0, flags2: 0 });
  });
});

describe("putInitReply", () => {
  it("lays out fuse_init_out", () => {
    const words = new Uint32Array(16);
    putInitReply(words, 0, negotiate(newest, { passthrough: true, maxStackDepth: 2 }));
    const view = new DataView(words.buffer);
    expect(view.getUint32(0, true)).toBe(7);
    expect(view.getUint32(8, true)).toBe(131_072);
    expect(view.getUint16(16, true)).toBe(256);
    expect(view.getUint16(18, true)).toBe(192);
    expect(view.getUint32(20, true)).toBe(1024 * 1024);
    expect(view.getUint16(28, true)).toBe(256);
    expect(view.getUint32(36, true)).toBe(2);
  });
});
