/** Programs that a fresh machine may lack, writing to a writable mount: rsync, and vim as people use it. */
import { execFile } from "node:child_process";
import { cp, mkdir, rm, unlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeTree } from "../e2e/program-tree.ts";
import { folderTree } from "../e2e/stored-tree.ts";
import { openPlace, shell, type Place } from "../e2e/writable-place.ts";
import { debTool, type DebTool } from "../support/deb-tools.ts";

const run = promisify(execFile);
const rsync = await debTool("rsync", ["rsync", "libpopt0", "libxxhash0"]);
const vim = await debTool("vim.tiny", ["vim-tiny"]);

let place: Place;
beforeAll(async () => {
  place = await openPlace();
});
afterAll(() => place?.close());

function missing(tool: DebTool | { missing: string }): string {
  return "missing" in tool ? ` [${tool.missing}]` : "";
}

test.skipIf("missing" in rsync)(
  `rsync -a --delete mirrors a tree; a second run sends nothing, nor one after a remount${missing(rsync)}`,
  async () => {
    const { program, env } = rsync as DebTool;
    const source = path.join(place.scratch, "rsync");
    await mkdir(source);
    await makeTree(source);
    // Times of long ago: rsync takes two within a second for one.
    await shell(
      `ln -s ../text/0/0/file-0.txt sizes/link && mkdir empty && chmod 600 sizes/mib
find . -exec touch -h -d '2001-02-03 04:05:06.789' '{}' +`,
      source,
    );
    const folder = await place.folder("rsync");
    const sync = async (...args: string[]): Promise<string> => {
      const argv = ["-a", "--delete", "--itemize-changes", ...args, `${source}/`, `${folder}/`];
      const { stdout } = await run(program, argv, { env: { ...process.env, ...env }, maxBuffer: 1 << 26 });
      return stdout;
    };
    const mirrored = async (): Promise<void> => {
      const wanted = await folderTree(source);
      expect(await folderTree(folder)).toEqual(wanted);
      expect(await place.stored("rsync")).toEqual(wanted);
    };
    expect((await sync()).split("\n").length).toBeGreaterThan(200);
    expect(await sync()).toBe("");
    await mirrored();
    expect(await sync()).toBe("");
    await place.again();
    expect(await sync()).toBe("");

    // Changed, renamed, removed, another mode, a folder where a file was.
    await writeFile(path.join(source, "text/0/0/file-0.txt"), "changed");
    await cp(path.join(source, "text/1"), path.join(source, "text/copied"), { recursive: true });
    await rm(path.join(source, "text/2"), { recursive: true });
    await unlink(path.join(source, "sizes/empty"));
    await mkdir(path.join(source, "sizes/empty"));
    await writeFile(path.join(source, "sizes/empty/inside"), "x");
    await shell("chmod 755 text/0/0/file-0.txt && printf tail >> sizes/ten-mib && rmdir empty", source);
    const changes = await sync();
    expect(changes).toMatch(/^\*deleting +text\/2\//m);
    expect(changes).toMatch(/^>f\S* sizes\/ten-mib$/m);
    expect(await sync()).toBe("");
    await sync("--inplace", "--no-whole-file", "--checksum");
    await mirrored();
  },
);

test.skipIf("missing" in vim)(
  `vim edits files, with a swap file and backups beside them${missing(vim)}`,
  async () => {
    const { program, env } = vim as DebTool;
    // Below /tmp it would keep no backups.
    const script = `
seq 1 2000 > one.txt; cp one.txt two.txt; chmod 640 one.txt; ln -s one.txt link.txt
edit() { "$1" -u NONE -N -es -c "set backup backupskip= backupcopy=$3 swapfile fsync" -c '%s/7/seven/ge' -c '$s/$/ last/' -c wq "$2"; }
edit "$1" one.txt no
edit "$1" two.txt yes
edit "$1" link.txt auto
edit "$1" new.txt no`;
    const local = path.join(place.scratch, "vim");
    await mkdir(local);
    const folder = await place.folder("vim");
    for (const at of [local, folder]) {
      await run("sh", ["-ec", script, "sh", program], { cwd: at, env: { ...process.env, ...env } });
    }
    const wanted = await folderTree(local);
    expect(Object.keys(wanted)).toContain("one.txt~");
    expect(await folderTree(folder)).toEqual(wanted);
    expect(await place.stored("vim")).toEqual(wanted);
  },
);
