import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcome, type Outcome } from "./serve-here.ts";

const NOBODY = 65_534;
const root = fileURLToPath(new URL("../..", import.meta.url));
/** What the channel needs at run time: the addon's loader, and the logger with what it imports. */
const PACKAGES = ["node-gyp-build", ...dependenciesOf("pino")];
const canTest = process.getuid!() === 0 && existsSync("/usr/bin/fusermount3");

function dependenciesOf(name: string): string[] {
  const text = readFileSync(join(root, "node_modules", name, "package.json"), "utf8");
  const { dependencies = {} } = JSON.parse(text) as { dependencies?: Record<string, string> };
  return [name, ...Object.keys(dependencies).flatMap((dependency) => dependenciesOf(dependency))];
}

/** Mounts as nobody, says so, lets a child of its own read, and unmounts. */
const SERVE = `
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { NativeChannel } from "./dist/fuse/native-channel.js";
import { silentLogger } from "./dist/observe/logger.js";
const [mountPoint, allowOther] = process.argv.slice(2);
const attributes = { ino: 1, type: "directory", sizeBytes: 0, mode: 0o755, nlink: 2, uid: ${NOBODY}, gid: ${NOBODY},
  atimeMs: 0, mtimeMs: 0, ctimeMs: 0, blocks: 0 };
const filesystem = {
  attach() {}, forget() {}, releasedir() {},
  getattr: () => ({ attributes, attributeTtlMs: 0 }),
  opendir: () => ({ handle: 1, keepCache: false, directIo: false, noFlush: false }),
  readdir(_handle, offset, sink) { if (offset === 0) sink.add(Buffer.from("entry"), 2, "file", 1); },
};
const channel = new NativeChannel({ logger: silentLogger });
try {
  const settings = await channel.mount(filesystem, { mountPoint, source: "a source, with a comma\\\\", readOnly: true,
    allowOther: allowOther === "true", nonempty: false, passthrough: true });
  const run = promisify(execFile);
  const { stdout: listing } = await run("ls", [mountPoint]);
  const { stdout: table } = await run("grep", ["fuse.hawser", "/proc/self/mountinfo"]);
  await channel.unmount();
  console.log(JSON.stringify({ listing, table, settings, end: await channel.ended }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
await channel.close();
`;

describe.runIf(canTest)("a user without privileges, through fusermount3", () => {
  let home = "";
  let mountPoint = "";

  beforeAll(() => {
    // A copy that nobody may read, wherever the checkout lies.
    home = mkdtempSync(join(tmpdir(), "hawser-nobody-"));
    chmodSync(home, 0o755);
    cpSync(join(root, "dist"), join(home, "dist"), { recursive: true });
    cpSync(join(root, "native/build/Release/hawser.node"), join(home, "native/build/Release/hawser.node"));
    for (const name of PACKAGES) {
      cpSync(join(root, "node_modules", name), join(home, "node_modules", name), { recursive: true });
    }
    writeFileSync(join(home, "package.json"), '{ "type": "module" }');
    writeFileSync(join(home, "serve.js"), SERVE);
    execFileSync("mknod", ["-m", "666", join(home, "device"), "c", "10", "229"]);
    mountPoint = join(home, "mount point");
    mkdirSync(mountPoint);
    chownSync(mountPoint, NOBODY, NOBODY);
  });
  afterAll(() => rmSync(home, { recursive: true }));

  /** In a mount namespace of its own: a device that users may open, as distributions have it, and a fuse.conf. */
  const serve = (allowOther: boolean, fuseConf: string): Promise<Outcome> => {
    writeFileSync(join(home, "fuse.conf"), fuseConf);
    const script = `
      mount --bind ${home}/device /dev/fuse && mount --bind ${home}/fuse.conf /etc/fuse.conf && cd ${home} &&
      exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups \
        ${process.execPath} serve.js "${mountPoint}" ${allowOther}`;
    const env = { PATH: "/usr/bin:/bin" };
    return outcome(spawn("unshare", ["--mount", "sh", "-c", script], { env }));
  };

  it("mounts, reads and unmounts", async () => {
    const { stdout, stderr, code } = await serve(false, "");
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const said = JSON.parse(stdout) as { listing: string; table: string; settings: unknown; end: unknown };
    expect(said.listing).toBe("entry\n");
    expect(said.table).toContain("fuse.hawser");
    expect(said.table).toContain(`user_id=${NOBODY}`);
    expect(said.settings).toMatchObject({ passthrough: false, maxWriteBytes: 1_048_576 });
    expect(said.end).toEqual({ reason: "unmounted" });
  });

  it("may let others in where the system allows it", async () => {
    const said = JSON.parse((await serve(true, "user_allow_other\n")).stdout) as { table: string };
    expect(said.table).toContain("allow_other");
  });

  it("is told how to allow others where the system forbids it", async () => {
    const said = JSON.parse((await serve(true, "")).stdout) as { code: string; message: string };
    expect(said).toMatchObject({ code: "fuse_denied" });
    expect(said.message).toContain("/etc/fuse.conf");
  });

  it("is told what to do about a device that only root may open", async () => {
    chmodSync(join(home, "device"), 0o600);
    const said = JSON.parse((await serve(false, "")).stdout) as { code: string; message: string };
    expect(said).toMatchObject({ code: "fuse_denied" });
    expect(said.message).toContain("chmod 666 /dev/fuse");
  });
});
