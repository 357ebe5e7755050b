/**
 * Where programs write in tests: a prefix that is mounted writable, and what the bucket holds of it afterwards.
 *
 * With HAWSER_TEST_WRITE_TO=/some/folder the same tests write to that folder instead: what they expect of a mount must
 * be what a local disk does.
 */
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { S3Client } from "@aws-sdk/client-s3";
import { testClient } from "../support/dev-s3.ts";
import { World, isMounted, runProgram } from "./harness.ts";
import { type Tree, folderTree, objectsTree, openMultiparts, restore, storedObjects } from "./stored-tree.ts";

const LOCAL = process.env["HAWSER_TEST_WRITE_TO"];

export interface Place extends AsyncDisposable {
  /** A folder for programs to write in. */
  folder(name: string): Promise<string>;
  /** What the bucket holds of that folder, once everything written so far is in it. */
  stored(name: string): Promise<Tree>;
  /** Makes a local copy of what the bucket holds of that folder. */
  download(name: string, to: string): Promise<void>;
  /** Unmounts, which waits for uploads, and mounts again. Paths stay. */
  again(): Promise<void>;
  /** Local files, for what is compared with. */
  readonly scratch: string;
  close(): Promise<void>;
}

export async function openPlace(args: readonly string[] = []): Promise<Place> {
  const scratch = await mkdtemp(path.join(tmpdir(), "hawser-writable-"));
  return LOCAL === undefined ? MountedPlace.open(scratch, args) : new LocalPlace(scratch, LOCAL);
}

class MountedPlace implements Place {
  readonly scratch: string;
  private readonly world: World;
  private readonly client: S3Client;
  private readonly args: readonly string[];
  private readonly root: string;

  private constructor(scratch: string, world: World, args: readonly string[]) {
    this.scratch = scratch;
    this.world = world;
    this.client = testClient(world.s3);
    this.args = args;
    this.root = path.join(world.folder, "mnt");
  }

  static async open(scratch: string, args: readonly string[]): Promise<MountedPlace> {
    const place = new MountedPlace(scratch, await World.open(), args);
    await place.mount();
    return place;
  }

  async folder(name: string): Promise<string> {
    const folder = path.join(this.root, name);
    await mkdir(folder, { recursive: true });
    return folder;
  }

  async stored(name: string): Promise<Tree> {
    return objectsTree(await this.objects(name));
  }

  async download(name: string, to: string): Promise<void> {
    await restore(await this.objects(name), to);
  }

  async again(): Promise<void> {
    const { code, stderr } = await this.world.hawser(["unmount", this.root]);
    if (code !== 0) throw new Error(`hawser unmount ended with ${code}: ${stderr}`);
    await this.mount();
  }

  async close(): Promise<void> {
    if (isMounted(this.root)) await this.world.hawser(["unmount", "--force", this.root]);
    this.client.destroy();
    await this.world.close();
    await rm(this.scratch, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async mount(): Promise<void> {
    await this.world.mount(["--writable", ...this.args], { prefix: "volume/" });
  }

  private async objects(name: string) {
    const { code, stderr } = await this.world.hawser(["flush", this.root]);
    if (code !== 0) throw new Error(`hawser flush ended with ${code}: ${stderr}`);
    const open = await openMultiparts(this.client, this.world.bucket);
    if (open.length > 0) throw new Error(`Multipart uploads were left open: ${open.join(", ")}`);
    return storedObjects(this.client, this.world.bucket, `volume/${name}/`);
  }
}

class LocalPlace implements Place {
  readonly scratch: string;
  private readonly root: string;

  constructor(scratch: string, below: string) {
    this.scratch = scratch;
    this.root = path.join(below, path.basename(scratch));
  }

  async folder(name: string): Promise<string> {
    const folder = path.join(this.root, name);
    await mkdir(folder, { recursive: true });
    return folder;
  }

  stored(name: string): Promise<Tree> {
    return folderTree(path.join(this.root, name));
  }

  async download(name: string, to: string): Promise<void> {
    await cp(path.join(this.root, name), to, { recursive: true, verbatimSymlinks: true });
  }

  async again(): Promise<void> {}

  async close(): Promise<void> {
    await rm(this.scratch, { recursive: true, force: true });
    await rm(this.root, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Runs a shell script in a folder. @throws when it fails, with what it said */
export async function shell(script: string, folder: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram("sh", ["-ec", `cd "$0"\n${script}`, folder, ...args], {
    env: {
      LC_ALL: "C.UTF-8",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_AUTHOR_NAME: "Test",
      GIT_AUTHOR_EMAIL: "test@example.com",
      GIT_COMMITTER_NAME: "Test",
      GIT_COMMITTER_EMAIL: "test@example.com",
    },
    timeoutMs: 110_000,
  });
  if (code !== 0) throw new Error(`'${script}' ended with ${code}: ${stdout}${stderr}`);
  return stdout + stderr;
}
