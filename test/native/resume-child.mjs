/**
 * Takes over the kernel connection it inherited as descriptor 3, and answers every read with "second".
 *
 * Arguments: the mount point, the settings of the first daemon as JSON. Begins when a line arrives on standard input.
 */
import { once } from "node:events";
import { NativeChannel } from "../../dist/fuse/native-channel.js";
import { silentLogger } from "../../dist/observe/logger.js";

const [mountPoint, settings] = process.argv.slice(2);
const bytes = Buffer.from("second");

const filesystem = {
  attach() {},
  forget() {},
  getattr() {
    const attributes = { ino: 1, type: "directory", sizeBytes: 0, mode: 0o755, nlink: 2, uid: 0, gid: 0 };
    return {
      attributes: { ...attributes, atimeMs: 0, mtimeMs: 0, ctimeMs: 0, blocks: 0 },
      attributeTtlMs: 0,
    };
  },
  read(_handle, offset) {
    const chunks = offset === 0 ? [bytes] : [];
    return { chunks, lengthBytes: offset === 0 ? bytes.length : 0, release() {} };
  },
  flush() {},
  release() {},
};

process.stdout.write("ready\n");
await once(process.stdin, "data");
process.stdin.destroy();
const channel = new NativeChannel({ logger: silentLogger });
await channel.resume(filesystem, { fd: 3, mountPoint, settings: JSON.parse(settings) });
const { reason } = await channel.ended;
process.stdout.write(`${reason}\n`);
