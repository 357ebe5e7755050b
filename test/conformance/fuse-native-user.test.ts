/** fuse-native for a user without privileges, and with nothing of libfuse 2 on the system. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const NOBODY = 65_534;
const root = fileURLToPath(new URL("../..", import.meta.url));
/** What the channel needs at run time. */
const PACKAGES = [
  "fuse-native",
  "fuse-shared-library",
  "fuse-shared-library-linux",
  "inherits",
  "nanoresource",
  "napi-macros",
  "node-gyp-build",
];
const hasPackage = existsSync(path.join(root, "node_modules/fuse-native"));
const reason = !hasPackage
  ? "fuse-native is not installed"
  : process.getuid!() !== 0
    ? "only root can become another user"
    : !existsSync("/usr/bin/fusermount")
      ? "fusermount is not installed"
      : "";

/** Mounts, lets a child of its own read, unmounts, and says how it went. */
const SERVE = `
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { FuseNativeChannel } from "./dist/fuse/fuse-native-channel.js";
const [mountPoint, allowOther] = process.argv.slice(2);
const attributes = { ino: 1, type: "directory", sizeBytes: 0, mode: 0o755, nlink: 2, uid: process.getuid(),
  gid: process.getgid(), atimeMs: 0, mtimeMs: 0, ctimeMs: 0, blocks: 0 };
const filesystem = {
  attach() {}, forget() {}, releasedir() {},
  getattr: () => ({ attributes, attributeTtlMs: 0 }),
  opendir: () => ({ handle: 1, keepCache: false, directIo: false, noFlush: false }),
  readdir(_handle, offset, sink) { if (offset === 0) sink.add(Buffer.from("entry"), 2, "file", 1); },
};
const logger = { error() {}, warn() {} };
const channel = new FuseNativeChannel({ logger });
try {
  await channel.mount(filesystem, { mountPoint, source: "a source, with a comma\\\\", readOnly: true,
    allowOther: allowOther === "true", nonempty: false, passthrough: true });
  const run = promisify(execFile);
  const { stdout: listing } = await run("ls", [mountPoint]);
  const { stdout: table } = await run("grep", ["fuse.hawser a", "/proc/self/mountinfo"]);
  const library = /\\S*libfuse\\S*/.exec(readFileSync("/proc/self/maps", "utf8"))[0];
  await channel.unmount();
  console.log(JSON.stringify({ listing, table, library, end: await channel.ended }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
await channel.close();
`;

describe.skipIf(reason !== "")(`fuse-native for an ordinary user${reason && ` [${reason}]`}`, () => {
  let home: string;
  let mountPoint: string;

  beforeAll(() => {
    // A copy that anybody may read, wherever the checkout lies.
    home = mkdtempSync(path.join(tmpdir(), "hawser-user-"));
    chmodSync(home, 0o755);
    cpSync(path.join(root, "dist"), path.join(home, "dist"), { recursive: true });
    for (const name of PACKAGES) {
      cpSync(path.join(root, "node_modules", name), path.join(home, "node_modules", name), {
        recursive: true,
      });
    }
    writeFileSync(path.join(home, "package.json"), '{ "type": "module" }');
    writeFileSync(path.join(home, "serve.js"), SERVE);
    execFileSync("mknod", ["-m", "666", path.join(home, "device"), "c", "10", "229"]);
    mountPoint = path.join(home, "mount point, odd");
    mkdirSync(mountPoint);
    chownSync(mountPoint, NOBODY, NOBODY);
  });
  afterAll(() => rmSync(home, { recursive: true }));

  /** In a mount namespace of its own: a device that users may open, as distributions have it, and a fuse.conf. */
  async function serve(allowOther: boolean, fuseConf: string): Promise<Record<string, unknown>> {
    writeFileSync(path.join(home, "fuse.conf"), `${fuseConf}\n`);
    const script = `
      mount --bind ${home}/device /dev/fuse && mount --bind ${home}/fuse.conf /etc/fuse.conf && cd ${home} &&
      exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups ${process.execPath} serve.js "$1" ${allowOther}`;
    const child = spawn("unshare", ["--mount", "sh", "-c", script, "sh", mountPoint], {
      env: { PATH: "/usr/bin:/bin" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [output, [code]] = await Promise.all([
      text(child.stdout),
      once(child, "exit") as Promise<[number]>,
    ]);
    expect(code).toBe(0);
    return JSON.parse(output) as Record<string, unknown>;
  }

  test("mounts, reads and unmounts through fusermount, with the library that the package ships", async () => {
    const said = await serve(false, "");
    expect(said).toMatchObject({ listing: "entry\n", end: { reason: "unmounted" } });
    expect(said["table"]).toContain(`user_id=${NOBODY}`);
    expect(said["library"]).toBe(path.join(home, "node_modules/fuse-native/prebuilds/linux-x64/libfuse.so"));
  });

  test("lets others in only where the system allows it, and says what to change", async () => {
    expect(await serve(true, "")).toMatchObject({
      code: "fuse_denied",
      message: expect.stringContaining("user_allow_other") as string,
    });
    expect((await serve(true, "user_allow_other"))["table"]).toContain("allow_other");
  });

  test("says which package to install where fuse-native is missing", async () => {
    rmSync(path.join(home, "node_modules/fuse-native"), { recursive: true });
    expect(await serve(false, "")).toMatchObject({
      code: "addon_missing",
      message: expect.stringContaining("--channel native") as string,
    });
  });
});
