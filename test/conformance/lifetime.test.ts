import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "vitest";
import { FILES } from "../support/conformance-tree.ts";
import { patternBytes } from "../support/sparse-content.ts";
import { conformance } from "./table.ts";

function umount(...args: string[]): void {
  execFileSync("umount", args, { stdio: "pipe" });
}

/** Closes a file of a mount that is gone: the descriptor goes, with or without an error. */
function closeDead(fd: number): void {
  try {
    closeSync(fd);
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toMatch(/ENOTCONN|ECONNABORTED/);
  }
}

/** Walks, reads, fails, makes and removes: every way by which a node is looked up. */
function exercise(root: string): void {
  execFileSync("find", [root, "-printf", "%s"], { stdio: "ignore" });
  for (const name of readdirSync(path.join(root, "names"))) readFileSync(path.join(root, "names", name));
  expect(existsSync(path.join(root, "files/none"))).toBe(false);
  execFileSync("sh", [
    "-c",
    'cd "$1" && mkdir a && echo x > a/b && mv a/b a/c && ln -s c a/d && cat a/d && rm -r a',
    "sh",
    path.join(root, "work"),
  ]);
}

conformance("lifetime", {}, ({ channel, rowAlone }) => {
  rowAlone("the mount says what it is: source, type and settings", async (start) => {
    await using mount = await start();
    const line = execFileSync("findmnt", ["-no", "SOURCE,FSTYPE", mount.path], { encoding: "utf8" }).trim();
    expect(line).toBe("memory://conformance, with a comma fuse.hawser");
    expect(mount.settings.kind).toBe(channel);
    expect(mount.settings.protocolMajor).toBe(7);
    expect(mount.settings.maxWriteBytes).toBeGreaterThanOrEqual(128 * 1024);
  });

  rowAlone("every lookup is forgotten, exactly", async (start) => {
    await using mount = await start({ bigEntries: 5000 });
    exercise(mount.path);
    // A remount drops this mount's names from the kernel's cache, and with them the references.
    execFileSync("mount", ["-i", "-o", "remount", mount.path]);
    await mount.call("forgotten");
    const stats = await mount.call("stats");
    expect(stats.referenced).toEqual([]);
    expect(stats.outstandingLookups).toBe(0);
  });

  rowAlone("every open is released by the time of an unmount", async (start) => {
    await using mount = await start();
    exercise(mount.path);
    umount(mount.path);
    await mount.happened("ended unmounted");
    expect((await mount.call("stats")).openHandles).toBe(0);
  });

  rowAlone("an umount from outside ends the channel and the process", async (start) => {
    await using mount = await start();
    expect(statSync(mount.at("files/one")).size).toBe(1);
    umount(mount.path);
    await mount.happened("ended unmounted");
    expect(mount.isMounted()).toBe(false);
    expect(await mount.stop()).toBe(0);
  });

  rowAlone("unmount() says busy while a file is open, and works when it is closed", async (start) => {
    await using mount = await start();
    const fd = openSync(mount.at("files/one"), "r");
    await expect(mount.call("unmount", {})).rejects.toMatchObject({ code: "mount_point_busy" });
    expect(readFileSync(mount.at("files/one")).length).toBe(1);
    closeSync(fd);
    await mount.call("unmount", {});
    expect(mount.isMounted()).toBe(false);
  });

  rowAlone(
    "a lazy unmount frees the path at once; open files read on until they are closed",
    async (start) => {
      await using mount = await start();
      const fd = openSync(mount.at("files/middling"), "r");
      const unmounted = mount.call("unmount", { lazy: true });
      await expect.poll(() => mount.isMounted()).toBe(false);
      const into = Buffer.alloc(5000);
      readSync(fd, into, 0, 5000, 9_000_000);
      expect(into.equals(patternBytes(FILES.middling.seed, 9_000_000, 5000))).toBe(true);
      closeSync(fd);
      await unmounted;
      await mount.happened("ended unmounted");
    },
  );

  rowAlone("close() ends a mount with open files, and a second close() is nothing", async (start) => {
    await using mount = await start();
    const fd = openSync(mount.at("files/middling"), "r");
    const folder = openSync(mount.at("names"), "r");
    expect(await mount.stop()).toBe(0);
    expect(mount.isMounted()).toBe(false);
    expect(() => readSync(fd, Buffer.alloc(10), 0, 10, 8_000_000)).toThrow(/ENOTCONN|ECONNABORTED/);
    closeDead(fd);
    closeSync(folder);
  });

  rowAlone(
    "a connection that is aborted from outside ends the channel, and no dead mount is left",
    async (start) => {
      await using mount = await start();
      const fd = openSync(mount.at("files/middling"), "r");
      // MNT_FORCE aborts; the open file then keeps the mount itself busy.
      expect(() => umount("-i", "-f", mount.path)).toThrow(/busy/);
      await mount.happened("ended failed");
      closeDead(fd);
      expect(await mount.stop()).toBe(0);
      expect(mount.isMounted()).toBe(false);
    },
  );

  rowAlone("a process can mount again after a close, at the same place", async (start) => {
    await using mount = await start();
    await mount.call("close");
    expect(mount.isMounted()).toBe(false);
    await mount.call("mount", {
      channel,
      mount: {
        mountPoint: mount.path,
        source: "memory://again",
        readOnly: true,
        allowOther: false,
        nonempty: false,
        passthrough: false,
      },
    });
    expect(statSync(mount.at("files/one")).size).toBe(1);
  });

  rowAlone("a killed server leaves ENOTCONN, and the path can be unmounted", async (start) => {
    await using mount = await start();
    const fd = openSync(mount.at("files/one"), "r");
    mount.child.kill("SIGKILL");
    await once(mount.child, "exit");
    expect(() => statSync(mount.path)).toThrow("ENOTCONN");
    expect(() => readSync(fd, Buffer.alloc(1), 0, 1, 0)).toThrow("ENOTCONN");
    closeDead(fd);
    umount("-l", mount.path);
    expect(readdirSync(mount.path)).toEqual([]);
  });

  rowAlone("a mount over content needs nonempty, and hides it", async (start) => {
    const folder = mkdtempSync(path.join(tmpdir(), "hawser-content-"));
    writeFileSync(path.join(folder, "hidden"), "x");
    try {
      await expect(start({ mount: { mountPoint: folder } })).rejects.toMatchObject({
        code: "mount_point_not_empty",
      });
      await using mount = await start({ mount: { mountPoint: folder, nonempty: true } });
      expect(existsSync(path.join(folder, "hidden"))).toBe(false);
      expect(existsSync(path.join(folder, "files"))).toBe(true);
      await mount.call("close");
      expect(readdirSync(folder)).toEqual(["hidden"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  rowAlone("mount points that are missing, files or taken are refused by name", async (start) => {
    await using mount = await start();
    const file = path.join(tmpdir(), `hawser-file-${process.pid}`);
    writeFileSync(file, "x");
    const refusals: [string, string][] = [
      [path.join(tmpdir(), "hawser-no-such-folder"), "mount_point_missing"],
      [file, "mount_point_not_directory"],
      [mount.path, "mount_point_busy"],
    ];
    for (const [mountPoint, code] of refusals) {
      await expect(start({ mount: { mountPoint } }), mountPoint).rejects.toMatchObject({ code });
    }
    rmSync(file);
  });

  rowAlone("mount points with spaces, commas, quotes and newlines work", async (start) => {
    const folder = mkdtempSync(path.join(tmpdir(), "hawser $(touch x) `id` , \"' \n ü "));
    try {
      await using mount = await start({ mount: { mountPoint: folder } });
      expect(statSync(path.join(folder, "files/one")).size).toBe(1);
      await mount.call("unmount", {});
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      rmdirSync(folder);
    }
  });
});
